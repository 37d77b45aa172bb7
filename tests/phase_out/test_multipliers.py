"""The constraint a = 0 of Dirac filters by multipliers: by hand, sealed, folded, resumed, and what does not fit."""

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras import fold
from dirac_keras.layers import DiracConv2D, DiracDense
from dirac_keras.models import build_diracnet
from dirac_keras.phase_out import IdentityPhaseOut, seal_identities
from dirac_keras.training.config import TrainConfig
from tests.phase_out.runs import RUN
from tests.run_checks import KillAfter, Killed, assert_same_run, train_fields

STEPS = 4  # of an epoch


def numbers(variable):
    return np.array(ops.convert_to_numpy(variable))


def one_layer(identity=(1.0, 1.0), learning_rate=0.25, cost=0.0, **options):
    """A model of one DiracDense of two units; by default its cost is 0 whatever it does."""
    options = {"use_bias": False, "use_identity_multiplier": True, **options}
    model = keras.Sequential([keras.Input((2,)), DiracDense(2, name="dirac", **options)])
    layer = model.get_layer("dirac")
    if layer.identity_scale is not None:
        layer.identity_scale.assign(identity)
    model.compile(keras.optimizers.SGD(learning_rate), loss=lambda y, p: cost * ops.mean(p, axis=-1))
    return model, layer


def train_and_watch(model, callback, epochs=1, **options):
    """`a` and lambda after each step, `(steps, 2, units)`, and Keras' history."""
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            layer = self.model.get_layer("dirac")  # on JAX `self.model` is up to date
            seen.append((numbers(layer.identity_scale), numbers(layer.identity_multiplier)))

    x = np.ones((STEPS, 2), "float32")
    history = model.fit(x, x, batch_size=1, epochs=epochs, verbose=0, callbacks=[callback, Watch()], **options)
    return np.array(seen), history.history


def test_steps_of_a_and_lambda_by_hand():
    """eta = 1/4, eta' = 1/8: a loses lambda / 4, then lambda gains a / 8; all of it is exact in binary."""
    model, layer = one_layer()
    seen, history = train_and_watch(model, IdentityPhaseOut(fraction=0.5, multiplier=1, seal=False))
    a, multiplier, expected = 1.0, 1.0, []
    for _ in range(STEPS):
        a = max(a - multiplier / 4, 0.0)
        multiplier += a / 8
        expected.append((a, multiplier))
    assert expected[0] == (0.75, 1.09375) and expected[1] == (0.4765625, 1.1533203125) and expected[3][0] == 0
    np.testing.assert_array_equal(seen[:2, :, 0], expected[:2])
    np.testing.assert_allclose(seen[:, :, 1], expected, rtol=1e-6)  # the third has more digits than float32
    assert history["loss"] == [0.0], "the term is no part of the reported loss"
    assert history["identity_ratio"] == [0.0]
    assert history["identity_multiplier"][0] == pytest.approx(expected[-1][1], rel=1e-6)
    assert layer.identity_scale.constraint is None and layer.identity_multiplier.constraint is None


def test_cost_counts_beside_the_multiplier():
    """The cost's gradient of a is `-c x / 2` = -1/2 for each unit: a falls by (lambda - 1/2) / 4, fraction 0."""
    model, _ = one_layer(cost=-1.0)
    seen, _ = train_and_watch(model, IdentityPhaseOut(fraction=0, multiplier=1, seal=False))
    np.testing.assert_allclose(seen[:, 0, 0], [0.875, 0.75, 0.625, 0.5], rtol=1e-6)


def test_rate_is_that_of_each_step_of_a_schedule():
    model, _ = one_layer()
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1, 2], [0.0, 0.5, 0.0, 1.0])
    model.compile(keras.optimizers.SGD(schedule), loss=lambda y, p: 0.0 * ops.mean(p, axis=-1))
    seen, _ = train_and_watch(model, IdentityPhaseOut(fraction=0.25, multiplier=0.5, seal=False))
    # rates 0, 1/2, 0, 1: lambda 1/2, 1/2 + 1/8 * 3/4, the same, ...
    np.testing.assert_allclose(seen[:3, 1, 0], [0.5, 0.59375, 0.59375], rtol=1e-6)
    np.testing.assert_allclose(seen[:, 0, 0], [1, 0.75, 0.75, 0.15625], rtol=1e-6)


def test_phase_out_waits_for_its_epoch_and_negative_scales_until_then():
    model, _ = one_layer(identity=(1.0, -0.5))
    seen, _ = train_and_watch(model, IdentityPhaseOut(0, start_epoch=1.3, multiplier=0.5, seal=False), epochs=2)
    start = 6  # the first step at 1.3 epochs or later
    np.testing.assert_array_equal(seen[: start - 1, 1], 0)
    np.testing.assert_array_equal(seen[start - 1 :, 1], 0.5)
    np.testing.assert_array_equal(seen[:, 0, 0], [1] * start + [0.875, 0.75])
    np.testing.assert_array_equal(seen[:, 0, 1], [-0.5] * start + [0, 0])


@pytest.mark.slow
def test_two_fits_are_one():
    arguments = {"fraction": 0.5, "start_epoch": 0.5, "multiplier": 0.125, "seal": False}
    whole, _ = train_and_watch(one_layer()[0], IdentityPhaseOut(**arguments), epochs=2)
    model, _ = one_layer()
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True))
    x = np.ones((STEPS, 2), "float32")
    model.fit(x, x, batch_size=1, epochs=2, verbose=0, callbacks=[IdentityPhaseOut(**arguments), stop])
    rest, _ = train_and_watch(model, IdentityPhaseOut(**arguments), epochs=2, initial_epoch=1)
    np.testing.assert_array_equal(rest, whole[STEPS:])


def test_identity_is_sealed_and_folds_to_the_normalised_kernel(tmp_path):
    model, layer = one_layer(learning_rate=0.2475)  # a: 1 - 4 * 0.2475 = 0.01
    layer.filter_scale.assign([1.5, -2.0])
    images = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    seen, _ = train_and_watch(model, IdentityPhaseOut(fraction=0, multiplier=1))
    assert (seen[-1, 0] > 5e-3).all(), "it was there before"
    assert not numbers(layer.identity_scale).any(), "exactly 0"
    model.compile("sgd", "mse")  # a file holds no lambda
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert numbers(loaded.get_layer("dirac").identity_multiplier).all()
    folded, _ = fold(loaded)
    assert type(folded.layers[-1]) is keras.layers.Dense
    raw = numbers(layer.kernel)
    # one normalisation in float32
    expected = numbers(layer.filter_scale) * raw / np.linalg.norm(raw, axis=0)
    np.testing.assert_allclose(folded.layers[-1].get_weights()[0], expected, rtol=1e-6)
    np.testing.assert_allclose(
        ops.convert_to_numpy(folded(images)), ops.convert_to_numpy(model(images)), rtol=1e-5, atol=1e-6
    )


def test_identity_that_is_still_there_is_named_and_stays(caplog):
    model, layer = one_layer(identity=(1.0, 0.3), filter_scale_initializer="ones")
    with caplog.at_level("WARNING", logger="dirac_keras"):
        train_and_watch(model, IdentityPhaseOut(fraction=0, multiplier=0.25, tolerance=0.5))
    np.testing.assert_allclose(numbers(layer.identity_scale), [0.75, 0.05], rtol=1e-5)
    text = " ".join(caplog.messages)
    assert "1 of 1 identities" in text and "'dirac' (|a| / |b| up to 0.75)" in text


def test_seal_is_all_or_nothing():
    layers = [DiracDense(2, name="first"), DiracDense(2, name="second", identity_scale_initializer="zeros")]
    model = keras.Sequential([keras.Input((2,)), *layers])
    layers[1].identity_scale.assign([5e-4, 0.0])  # of b = 0.1
    with pytest.raises(ValueError, match=r"at most 0.01. Received .* with 'first' .* up to 10\)"):
        seal_identities(model)
    assert numbers(layers[1].identity_scale).any()
    layers[0].identity_scale.assign([0.0, -9e-4])
    seal_identities(model)
    assert not any(numbers(layer.identity_scale).any() for layer in layers)
    with pytest.raises(ValueError, match="must have a Dirac layer with an identity_scale"):
        seal_identities(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)], name="plain"))


def test_layer_without_multipliers_is_what_it_was():
    assert "use_identity_multiplier" not in DiracDense(2).get_config()
    model, layer = one_layer(use_identity_multiplier=False)
    assert [weight.name for weight in layer.weights] == ["kernel", "identity_scale", "filter_scale"]
    refused(model, IdentityPhaseOut(), "must have use_identity_multiplier=True")
    with pytest.raises(ValueError, match="needs an identity_scale to take out"):
        DiracDense(2, use_identity_scale=False, use_weight_norm=False, use_identity_multiplier=True)
    with pytest.raises(ValueError, match="identity_multipliers=True needs a scale a"):
        build_diracnet(10, parameterization="plain", identity_multipliers=True)


def test_layers_own_regularizer_counts_too():
    own = keras.regularizers.L2(0.5)  # gradient a
    model, layer = one_layer(identity_scale_regularizer=own)
    seen, history = train_and_watch(model, IdentityPhaseOut(fraction=0, multiplier=0.5, seal=False))
    np.testing.assert_allclose(seen[:2, 0, 0], [1 - 1.5 / 4, 0.625 - (0.625 + 0.5) / 4], rtol=1e-6)
    assert history["loss"][0] > 0, "its value is reported, as Keras does"
    assert layer.get_config()["identity_scale_regularizer"]["class_name"] == "L2"


@pytest.mark.parametrize("name", ["fraction", "start_epoch", "multiplier", "tolerance"])
@pytest.mark.parametrize("value", [-1, float("nan"), "much", True])
def test_bad_argument_gets_a_message_that_names_it(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a number of 0 or more"):
        IdentityPhaseOut(**{name: value})


def refused(model, callback, message):
    x = np.ones((4, 2), "float32")
    with pytest.raises(ValueError, match=message):
        model.fit(x, x, verbose=0, callbacks=[callback])


def test_trainings_that_do_not_fit_are_refused():
    refused(one_layer()[0], IdentityPhaseOut(start_epoch=1), "must begin before the training ends.*epochs=1")
    for options, message in (
        ({"use_ema": True}, "Received an optimizer with use_ema=True"),
        ({"gradient_accumulation_steps": 2}, "cannot be accumulated"),
    ):
        model, _ = one_layer()
        model.compile(keras.optimizers.SGD(0.1, **options), "mse")
        refused(model, IdentityPhaseOut(), message)


FIELDS = {**RUN, "identity_phase_out": 20.0}


@pytest.mark.slow
def test_a_run_takes_identities_out_and_resumes_to_the_same_weights(tmp_path):
    fields = {**FIELDS, "recipe": "quick", "identity_phase_out_start": 1.3, "identity_multiplier": 0.25}
    whole = train_fields(fields, tmp_path / "whole")
    for step in (4, 5):  # before the multipliers begin, and behind
        with pytest.raises(Killed):
            callbacks = [KillAfter(step=step)]
            train_fields({**fields, "checkpoint_steps": 1}, tmp_path / "killed", callbacks=callbacks)
    assert_same_run(train_fields({**fields, "checkpoint_steps": 1}, tmp_path / "killed"), whole)
    multipliers = [row["identity_multiplier"] for row in whole.history]
    assert multipliers[0] == 0 < multipliers[1] <= multipliers[2]
    layers = [layer for layer in whole.model.layers if isinstance(layer, DiracConv2D)]
    assert not any(numbers(layer.identity_scale).any() for layer in layers), "sealed"
    folded, _ = fold(whole.model)
    assert not any(isinstance(layer, DiracConv2D) for layer in folded.layers)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"identity_phase_out": -0.1}, "identity_phase_out must be 0 or more"),
        ({"identity_phase_out_start": 3}, "The phase-out must begin before the training ends"),
        ({"identity_multiplier": -1.0}, "identity_multiplier must be 0 or more"),
        ({"parameterization": "plain"}, "identity_phase_out needs kernels with a scale a"),
        ({"identity_bound": 0.5}, "identity_phase_out and identity_bound exclude each other"),
        ({"dissolve_epoch": 1}, "identity_phase_out and dissolve_epoch exclude each other"),
        ({"ema_momentum": 0.9}, "ema_momentum must be 0 beside identity_phase_out"),
        ({"family": "wide_resnet"}, "identity_phase_out is a field of family=diracnet"),
    ],
)
def test_bad_field_gets_a_message_that_names_it(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{**FIELDS, **fields})
