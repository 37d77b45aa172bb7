import csv
import logging

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras import assert_plain, fold
from dirac_keras.diagnostics import measure
from dirac_keras.files.tables import read_table
from dirac_keras.graph.receptive_fields import receptive_fields
from dirac_keras.layers import VariableSkip, add_variable_skip
from dirac_keras.models import build_resnet, build_van
from dirac_keras.phase_out import find_skips, seal_skips
from dirac_keras.training import train
from dirac_keras.training.config import TrainConfig
from pipelines import load_splits
from tests.network_checks import trainable_parameters

DENSE = {"layout": "dense", "depth": 6, "units": 8, "input_shape": (5, 4), "num_classes": 3}
CONV = {"layout": "conv", "depth": 10, "width": 0.25, "input_shape": (16, 16, 3), "num_classes": 3}


def move_weights(model, seed=0):
    """Random statistics, scales and biases: fresh BatchNormalization is nearly the identity."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 2.0, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0.0, 0.3, weight.shape))
        elif weight.name == "alpha":
            weight.assign(rng.uniform(0.1, 0.9, weight.shape))
    return model


def sealed(model):
    seal_skips(move_weights(model), tolerance=1.0)
    return model


def relative_difference(model, other, seed=1):
    x = np.random.default_rng(seed).normal(size=(16, *model.input_shape[1:])).astype("float32")
    expected = model.predict(x, verbose=0)
    return np.abs(other.predict(x, verbose=0) - expected).max() / np.abs(expected).max()


def residual_network(options, **changes):
    """The ResNet that a VAN of these options begins as."""
    return build_resnet(**{**options, "layout": "van" if options["layout"] == "conv" else "dense", **changes})


def set_alphas(model, value):
    for skip in find_skips(model).values():
        skip.alpha.assign(np.full(skip.alpha.shape, value, "float32"))


def copy_weights(model, target):
    """By layer name; layers that `model` has not keep theirs."""
    names = {layer.name for layer in model.layers}
    for layer in target.layers:
        if layer.name in names:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return {layer.name for layer in target.layers} - names


@pytest.mark.parametrize("options", [DENSE, CONV], ids=["dense", "conv"])
@pytest.mark.parametrize("skips", [True, False], ids=["resnet", "plain"])
def test_van_is_the_resnet_at_alpha_0_and_the_plain_network_at_alpha_1(options, skips):
    van, reference = build_van(**options), move_weights(residual_network(options, skips=skips))
    missing = copy_weights(reference, van)
    ends = {name.rsplit("_", 1)[1] for name in missing}
    assert ends <= ({"skip"} if skips else {"skip", "add", "projection"})
    assert {layer.name for layer in reference.layers} <= {layer.name for layer in van.layers}
    set_alphas(van, 0.0 if skips else 1.0)
    assert relative_difference(reference, van) < 1e-5  # float32 sums, perhaps in another order
    set_alphas(van, 0.5)
    assert relative_difference(reference, van) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"), [(DENSE, 6 * 8), (CONV, 4 + 8 + 16 + 32), ({"layout": "conv", "depth": 18}, 2 * 240)]
)
def test_parameters_are_the_resnets_and_the_alphas(options, expected):
    model = build_van(**options)
    alphas = sum(int(np.prod(skip.alpha.shape)) for skip in find_skips(model).values())
    resnet = residual_network(options, input_shape=model.input_shape[1:])
    assert trainable_parameters(model) == trainable_parameters(resnet) + alphas
    assert alphas == expected


@pytest.mark.slow
@pytest.mark.parametrize("depth", [10, 26])
def test_depth_counts_the_layers_with_weights_on_the_way_through(depth):
    model = build_van("conv", depth, width=0.125)
    kernels = [layer for layer in model.layers if isinstance(layer, (layers.Conv2D, layers.Dense))]
    assert len([layer for layer in kernels if not layer.name.endswith("projection")]) == depth


def test_dense_layers_are_in_order():
    names = [layer.name for layer in build_van(**{**DENSE, "depth": 1}).layers]
    first = ["images", "flatten", "dense1", "block1_bn", "block1_relu", "block1_dense", "block1_skip"]
    assert names == [*first, "block1_add", "head_bn", "head_relu", "head_dense"]


def test_conv_groups_halve_the_sides_where_a_projection_leads_to_the_skip():
    model = build_van(**CONV)
    shapes = {group: model.get_layer(f"group{group}_block1_add").output.shape[1:] for group in (1, 2, 3, 4)}
    assert shapes == {1: (16, 16, 4), 2: (8, 8, 8), 3: (4, 4, 16), 4: (2, 2, 32)}
    projected = [layer.name for layer in model.layers if layer.name.endswith("projection")]
    assert projected == [f"group{group}_block1_projection" for group in (2, 3, 4)]
    skip = model.get_layer("group2_block1_skip")
    assert skip.input is model.get_layer("group2_block1_projection").output
    assert receptive_fields(model)["group1_block1_skip"] == (3, 3)


@pytest.mark.slow
@pytest.mark.parametrize("options", [DENSE, CONV], ids=["dense", "conv"])
def test_network_is_measured_layer_by_layer(options):
    model = move_weights(build_van(**options))
    images = np.random.default_rng(0).normal(size=(32, *model.input_shape[1:])).astype("float32")
    diagnosis = measure(model, (images, np.arange(32) % 3))
    kernels = [layer.name for layer in model.layers if getattr(layer, "kernel", None) is not None]
    assert [record.name for record in diagnosis.layers] == kernels


@pytest.mark.slow
@pytest.mark.parametrize("options", [DENSE, {**CONV, "depth": 18}], ids=["dense", "conv"])
def test_sealed_network_folds_to_a_plain_chain(options):
    model = sealed(build_van(**options))
    folded, report = fold(model)
    assert_plain(folded)
    assert not report.kept and len(find_skips(model)) == 6 + 2 * (options is not DENSE)
    of_a_chain = ("InputLayer", "Flatten", "Dense", "ReLU", "Conv2D", "ZeroPadding2D", "GlobalAveragePooling2D")
    assert {type(layer) for layer in folded.layers} <= {getattr(layers, name) for name in of_a_chain}
    assert not any("projection" in layer.name for layer in folded.layers)
    assert relative_difference(model, folded) < 1e-5  # float32 products in another order, after 18 layers at most


@pytest.mark.slow
@pytest.mark.parametrize("options", [DENSE, CONV], ids=["dense", "conv"])
def test_open_network_keeps_its_skips_and_the_report_says_how_much(options):
    model = move_weights(build_van(**options))
    first, *others = find_skips(model).values()
    first.alpha.assign(np.full(first.alpha.shape, 0.25, "float32"))
    for layer in others[1:]:
        layer.alpha.assign(np.ones(layer.alpha.shape, "float32"))
    folded, report = fold(model)
    kept = {entry.layer: entry.reason for entry in report.kept}
    assert "(1 - alpha) is 0.75 on average, from 0.75 to 0.75; the mean of its square is 0.562" in kept[first.name]
    assert others[0].name in kept and others[1].name not in kept
    assert [layer.name for layer in find_skips(folded).values()] == [first.name, others[0].name]
    assert relative_difference(model, folded) < 1e-5
    with pytest.raises(AssertionError, match=rf"'{first.name}'.*: is a VariableSkip; '.*_add'.*: Add joins 2 tensors"):
        assert_plain(folded)


@pytest.mark.slow
def test_one_open_unit_is_enough_to_keep_a_skip():
    model = sealed(build_van(**DENSE))
    alpha = np.ones(8, "float32")
    alpha[3] -= 1e-6
    model.get_layer("block2_skip").alpha.assign(alpha)
    kept = [entry.layer for entry in fold(model)[1].kept]
    assert "block2_skip" in kept and "block3_skip" not in kept


@pytest.mark.slow
def test_skip_that_a_timetable_has_not_let_in_is_kept():
    model = sealed(build_van(**DENSE))
    model.get_layer("block2_skip").ramp.assign(0.5)
    folded, report = fold(model)
    assert "(1 - alpha) is 0.5 on average" in {entry.layer: entry.reason for entry in report.kept}["block2_skip"]
    assert relative_difference(model, folded) < 1e-5


def branches(make):
    """A model around `make(x)`, with sealed skips."""
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="first")(inputs)
    return sealed(keras.Model(inputs, make(x)))


def _three_branches(x):
    one, two = (layers.Dense(4, "relu", name=name)(x) for name in ("one", "two"))  # linear ones would be merged
    total = layers.Add(name="sum")([one, VariableSkip()(x), two])
    return layers.Dense(2)(total)


def _operator(x):
    return layers.Dense(2)(VariableSkip()(x) + layers.Dense(4, name="one")(x))


def _output(x):
    return add_variable_skip(layers.Dense(4, name="one")(x), x, name="block")


def _nested(x):
    inputs = keras.Input((4,))
    projected = layers.Dense(4, name="projection")(inputs)
    block = keras.Model(inputs, add_variable_skip(layers.Dense(4)(inputs), projected), name="block")
    return layers.Dense(2)(block(x))


def _skip_model(x):
    inputs = keras.Input((4,))
    skip = keras.Model(inputs, VariableSkip()(inputs), name="skip_model")
    return layers.Dense(2)(layers.Add()([skip(x), layers.Dense(4)(x)]))


@pytest.mark.parametrize("make", [_operator, _output, _nested, _skip_model])
def test_sealed_skip_goes_however_it_is_built(make):
    model = branches(make)
    folded, report = fold(model)
    assert_plain(folded)
    assert not report.kept and not find_skips(folded)
    assert relative_difference(model, folded) < 1e-5
    assert "projection" not in str([layer.name for layer in folded.layers])


def test_sum_of_three_goes_on_with_the_other_two():
    model = branches(_three_branches)
    folded, _ = fold(model)
    assert not find_skips(folded) and len(folded.get_layer("sum").input) == 2
    assert relative_difference(model, folded) < 1e-5
    with pytest.raises(AssertionError, match=r"'sum': Add joins 2 tensors"):
        assert_plain(folded)


def test_sealed_skip_without_an_addition_is_reported():
    model = branches(lambda x: layers.Concatenate()([layers.Dense(4)(x), VariableSkip(name="skip")(x)]))
    folded, report = fold(model)
    assert {entry.layer: entry.reason for entry in report.kept}["skip"].startswith("is sealed, but is no part")
    assert relative_difference(model, folded) < 1e-5


@keras.saving.register_keras_serializable(package="test_van")
class Opaque(keras.layers.Layer):
    def call(self, inputs):
        return inputs + inputs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: x + x, "Add joins 2 tensors"),
        (lambda x: layers.Multiply()([x, layers.ReLU()(x)]), "Multiply joins 2 tensors"),
        (lambda x: layers.Concatenate()([x, layers.ReLU()(x)]), "Concatenate joins 2 tensors"),
        (lambda x: VariableSkip(name="alone")(x), r"'alone': is a VariableSkip"),
        (lambda x: layers.Lambda(lambda y: y + y)(x), "Lambda has code that is not visible"),
        (lambda x: Opaque()(x), "Opaque has code that is not visible"),
    ],
)
def test_what_is_not_plain_is_named(make, message):
    inputs = keras.Input((4,))
    with pytest.raises(AssertionError, match=message):
        assert_plain(keras.Model(inputs, make(layers.Dense(4)(inputs))))


def test_a_hundred_sums_are_one_reason():
    x = inputs = keras.Input((4,))
    for k in range(100):
        x = layers.Add(name=f"add_{k}")([x, layers.ReLU()(x)])
    sentence = "'deep' is not plain: 'add_0', 'add_1', 'add_2' and 97 more: Add joins 2 tensors."
    with pytest.raises(AssertionError, match=f"^{sentence}$"):
        assert_plain(keras.Model(inputs, x, name="deep"))


def test_plain_networks_pass():
    assert_plain(keras.Sequential([keras.Input((4,)), layers.Dense(4, activation="relu"), layers.Dense(2)]))
    inputs = keras.Input((4,))
    x = layers.Dense(4)(inputs)
    assert_plain(keras.Model(inputs, [layers.Dense(2)(x) * 2.0 + 1.0, layers.Dense(3)(x)]))  # two heads, no skip
    with pytest.raises(ValueError, match="must be built"):
        assert_plain(keras.Sequential([layers.Dense(2)]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "conv50"}, r"layout must be one of dense, conv. Received layout='conv50'"),
        ({"layout": "conv", "depth": 28}, r"depth must be 8 N \+ 2 for layout='conv'. Received depth=28; .* 26 and 34"),
        ({"layout": "conv", "depth": 2}, r"Received depth=2; the nearest are 10 and 18"),
        ({"layout": "conv", "depth": "x"}, r"Received depth='x'"),
        ({"depth": 0}, r"depth must be a whole number above 0. Received depth=0"),
        ({"units": 2.5}, r"units must be a whole number above 0. Received units=2.5"),
        ({"layout": "conv", "width": 0}, r"width must be a number above 0. Received width=0"),
        ({"layout": "conv", "input_shape": (4, 4, 3)}, r"at least 8 x 8 pixels"),
        ({"input_shape": 28}, r"input_shape must be a tuple of whole numbers above 0.*Received 28"),
        ({"num_classes": 0}, r"num_classes must be a whole number above 0"),
        ({"kernel_initializer": "he"}, r"kernel_initializer must be a Keras initializer.*='he'"),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_van(**arguments)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"phase_out_fraction": -0.5}, r"phase_out_fraction must be 0 or more. Received phase_out_fraction=-0.5"),
        ({"phase_out_end": 51}, r"must fit into the training.*phase_out_end=51 and epochs=50"),
        ({"phase_out_start": 50}, r"phase_out_start=50, phase_out_end=None and epochs=50"),
        ({"phase_out_start": 9, "phase_out_end": 9}, r"phase_out_start=9, phase_out_end=9"),
        ({"skip_constraint": 1}, r"skip_constraint must be true or false. Received skip_constraint=1"),
    ],
)
def test_bad_field_gets_a_message_that_names_it(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(family="van", recipe="van_dense", **fields)


def test_config_takes_the_papers_values():
    dense, conv = TrainConfig(family="van", recipe="van_dense"), TrainConfig(family="van", recipe="van", layout="conv")
    assert (dense.units, dense.phase_out_fraction, dense.learning_rate, dense.epochs) == (50, 0.5, 0.001, 50)
    assert (conv.phase_out_fraction, conv.decay_epochs, conv.epochs) == (0.1, (82, 125), 165)
    assert TrainConfig().units is None and TrainConfig().phase_out_fraction is None  # its layers have neither


RUN = {
    "family": "van", "recipe": "van_dense", "depth": 2, "units": 8, "epochs": 4, "learning_rate": 0.02,
    "max_train": 512, "max_test": 128, "phase_out_start": 1, "phase_out_end": 3,
}  # fmt: skip


def run(workdir, callbacks=(), **changes):
    config = TrainConfig(**{**RUN, **changes})
    return train(config, load_splits(**config.data_arguments()), workdir, callbacks=callbacks)


class StopAfter(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_run_phases_out_seals_and_goes_on_where_it_was_interrupted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "dirac_keras"):
        result = run(tmp_path / "whole")
    assert "constraint" not in caplog.text
    with open(tmp_path / "whole" / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    residuals = [float(row["skip_residual"]) for row in rows]
    assert residuals == sorted(residuals, reverse=True) and residuals[0] == 1.0 and residuals[-1] < 1e-4
    assert {"lagrangian", "alpha/block1_skip", "multiplier/block2_skip"} <= set(rows[0])
    folded, _ = fold(result.model)
    assert_plain(folded)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halves", [StopAfter()])
    resumed = run(tmp_path / "halves")
    for one, other in zip(result.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(other, one)

    trace, in_halves = (read_table(tmp_path / name / "skips.csv") for name in ("whole", "halves"))
    assert trace == in_halves
    steps = [row["step"] for row in trace]
    assert steps == list(range(17))  # four an epoch
    # Until the start, at step 4, the whole skip is there.
    assert [row["residual"] for row in trace[:5]] == [1.0] * 5 and trace[6]["residual"] < 1.0
    assert trace[-1]["alpha"] == pytest.approx(1.0, abs=0.01)
    assert (tmp_path / "halves" / "skips.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_run_without_multipliers_keeps_its_skips(tmp_path):
    result = run(tmp_path, skip_constraint=False, epochs=1)
    assert 0 < result.history[-1]["skip_residual"] < 1
    assert result.history[-1]["multiplier/block1_skip"] == 0
