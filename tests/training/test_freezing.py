"""Frozen layers keep weights and statistics, until an epoch if one is given; groups of layers have their own rates."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.files.tables import read_table
from dirac_keras.models import build_plainnet
from dirac_keras.training import TrainConfig, train
from dirac_keras.training.building import compile_model
from dirac_keras.training.start.freezing import freeze
from dirac_keras.training.start.layer_patterns import check_rates, parse_patterns, parse_rates
from pipelines import load_splits
from tests.run_checks import CONFIG, KillAfter, Killed, assert_same_run, run


def arrays(model):
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}


def config_of(**fields):
    return TrainConfig(**CONFIG | fields)


def small():
    keras.utils.set_random_seed(0)
    return build_plainnet(depth=2, units=4, input_shape=(2, 2, 1), scenario="bn")


def fitted(config):
    """Weights before and after four steps."""
    model = small()
    freeze(model, config)
    compile_model(model, config, 4)
    before = arrays(model)
    images = np.random.default_rng(0).normal(size=(32, 2, 2, 1)).astype("float32")
    model.fit(images, np.arange(32) % 10, batch_size=8, verbose=0)
    return before, arrays(model)


@pytest.mark.slow
def test_frozen_layers_and_their_statistics_do_not_move():
    before, after = fitted(config_of(freeze="dense1*"))
    for name in before:
        moved = np.any(before[name] != after[name])
        assert moved == (not name.startswith("dense1")), name


@pytest.mark.slow
def test_a_group_moves_by_its_share_of_the_rate():
    """The first step of SGD is the rate times the gradient: a tenth of the rate is a tenth of the step."""
    steps = []
    for rates in (None, "dense1=0.1,dense*=1"):
        config = config_of(learning_rate_of=rates, schedule="constant", weight_decay=0.0)
        model = small()
        compile_model(model, config, 4)
        before = arrays(model)
        images = np.random.default_rng(0).normal(size=(8, 2, 2, 1)).astype("float32")
        model.fit(images, np.arange(8) % 10, batch_size=8, verbose=0)
        steps.append({name: arrays(model)[name] - value for name, value in before.items()})
    whole, part = steps
    # Float32: the steps are differences of weights of about 1, so they carry errors of 1e-7.
    np.testing.assert_allclose(part["dense1/kernel"], 0.1 * whole["dense1/kernel"], atol=2e-7)
    np.testing.assert_allclose(part["dense2/kernel"], whole["dense2/kernel"], atol=2e-7)
    assert np.abs(whole["dense1/kernel"]).max() > 1e-4


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_rates_are_kept_in_the_file(optimizer, tmp_path):
    model = small()
    compile_model(model, config_of(learning_rate_of="dense1=0.5,*=2", optimizer=optimizer), 4)
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert again.rates == (("dense1", 0.5), ("*", 2.0))
    assert again._factors == model.optimizer._factors
    assert set(again._factors) == {0.5, 2.0}


@pytest.mark.parametrize("fields", [
    {"freeze": "conv*"}, {"learning_rate_of": "conv*=1"}, {"freeze": "*"},
])  # fmt: skip
def test_patterns_that_fit_nothing_or_all_are_named(fields):
    with pytest.raises(UserError, match=next(iter(fields))):
        fitted(config_of(**fields))


def test_a_factor_that_another_one_hides_is_named():
    """The first pattern that fits counts, so what stands behind `*` has no layer left."""
    with pytest.raises(
        UserError, match=r"learning_rate_of: 'dense1' stands behind '\*', which fits its layers already"
    ):
        fitted(config_of(learning_rate_of="*=0.1,dense1=1"))


@pytest.mark.parametrize("rates", ["*=1,dense*=0.1", "dense1=1,*=1,dense*=0.1"])
def test_the_rest_may_be_none(rates, caplog):
    """Every layer with weights is a dense one: in the right order, what is left for a last pattern is no fault."""
    names = ["dense0", "dense1", "dense2"]
    outputs = inputs = keras.Input((4,))
    for name in names:
        outputs = keras.layers.Dense(4, name=name)(outputs)
    model = keras.Model(inputs, outputs)
    with caplog.at_level("INFO", "dirac_keras"):
        check_rates(model, parse_rates(rates))
    assert "learning_rate_of: dense*=0.1 has no effect, as patterns before it fit its layers" in caplog.text


@pytest.mark.parametrize(("fields", "is_said"), [({}, True), ({"unfreeze_epoch": 1}, False)])
def test_a_factor_of_frozen_layers_is_said_to_have_no_effect(fields, is_said, caplog):
    config = config_of(freeze="dense1*", learning_rate_of="dense1*=10", **fields)
    with caplog.at_level("INFO", "dirac_keras"):
        fitted(config)
    assert ("learning_rate_of: dense1*=10 has no effect, as its layers are frozen" in caplog.text) is is_said


@pytest.mark.parametrize(("fields", "message"), [
    ({"freeze": " , "}, "freeze must be names of layers"),
    ({"learning_rate_of": "head*"}, "learning_rate_of must be factors above 0"),
    ({"learning_rate_of": "head*=0"}, "learning_rate_of must be factors above 0"),
    ({"learning_rate_of": "=1"}, "learning_rate_of must be factors above 0"),
    ({"unfreeze_epoch": 1}, "unfreeze_epoch needs `freeze`"),
    ({"freeze": "a", "unfreeze_epoch": 2}, "unfreeze_epoch must be below epochs"),
    ({"freeze": "a", "unfreeze_epoch": 1, "ema_momentum": 0.9}, "unfreeze_epoch and ema_momentum exclude"),
])  # fmt: skip
def test_values_out_of_range_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        config_of(**fields)


def test_patterns_and_rates_are_read_in_their_order():
    assert parse_patterns("stem*, group1*,") == ("stem*", "group1*")
    assert parse_rates("head*=1, group*=1e-1") == (("head*", 1.0), ("group*", 0.1))


UNFREEZING = {"epochs": 2, "freeze": "dense1*", "unfreeze_epoch": 1}


class _AfterFirstEpoch(keras.callbacks.Callback):
    """What the first layer holds when each epoch ends."""

    def on_train_begin(self, logs=None):
        self.before = getattr(self, "before", None) or [self.read()]

    def on_epoch_end(self, epoch, logs=None):
        self.before.append(self.read())

    def read(self):
        return [keras.ops.convert_to_numpy(weight).copy() for weight in self.model.get_layer("dense1").weights]


@pytest.fixture(scope="module")
def unfrozen(tmp_path_factory):
    watch = _AfterFirstEpoch()
    return run(tmp_path_factory.mktemp("unfrozen") / "run", **UNFREEZING, callbacks=[watch]), watch.before


def test_layers_are_frozen_until_the_epoch_and_trained_behind_it(unfrozen):
    result, (start, first, second) = unfrozen
    for a, b in zip(start, first, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(first, second, strict=True))
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert result.model.get_layer("dense1").trainable


def test_the_momentum_goes_along(unfrozen):
    """After two epochs the velocity of the layers that were never frozen has seen both, and the step count is whole."""
    result, _ = unfrozen
    assert int(keras.ops.convert_to_numpy(result.model.optimizer.iterations)) == 16


@pytest.mark.slow
@pytest.mark.parametrize("steps", [5, 8, 11])
def test_an_interrupted_run_is_resumed_before_at_and_behind_the_boundary(unfrozen, steps, tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "run", **UNFREEZING, checkpoint_steps=1, callbacks=[KillAfter(steps)])
    resumed = run(tmp_path / "run", **UNFREEZING, checkpoint_steps=1)
    assert_same_run(resumed, unfrozen[0])


@pytest.mark.slow
def test_parameters_of_frozen_layers_are_counted(unfrozen, tmp_path):
    frozen = run(tmp_path / "run", epochs=1, freeze="dense1*")
    assert frozen.summary["parameters"] == unfrozen[0].summary["parameters"]
    assert not frozen.model.get_layer("dense1").trainable


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="steps are one program on JAX")
def test_many_steps_as_one_program_freeze_and_unfreeze_too(tmp_path):
    """In chunks of 4 steps as in single ones: the same weights, to the rounding of another order of operations."""
    fields = {**CONFIG, **UNFREEZING, "learning_rate_of": "dense2=0.5,*=1"}
    splits = load_splits(**TrainConfig(**fields).data_arguments())
    single = train(TrainConfig(**fields), splits, tmp_path / "single", steps_per_execution=1)
    chunks = train(TrainConfig(**fields), splits, tmp_path / "chunks", steps_per_execution=4)
    for mine, theirs in zip(single.model.get_weights(), chunks.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_replicas_freeze_and_unfreeze_as_one_device_does(tmp_path):
    """Two parts of the CPU see half of each batch; BatchNormalization is synchronized, so the losses are the same."""
    rows = []
    for name, options in (("one", ["--strategy", "one"]), ("two", ["--logical-devices", "2"])):
        folder = tmp_path / name
        command = [sys.executable, "-m", "dirac_keras.cli", "train", "--no-export", "--workdir", str(folder), *options]
        for field, value in (CONFIG | UNFREEZING | {"learning_rate_of": "dense2=0.5,*=1"}).items():
            command += [f"--{field.replace('_', '-')}", str(value)]
        process = subprocess.run(command, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        rows.append(read_table(folder / "metrics.csv", "epoch"))
    one, two = rows
    for mine, theirs in zip(one, two, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
        assert mine["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-3)
