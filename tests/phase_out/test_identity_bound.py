"""The bound on the identity of Dirac filters: by hand, in a run that is killed, and what does not fit."""

import keras
import numpy as np
import pytest

from dirac_keras import fold
from dirac_keras.layers import DiracConv2D, DiracDense
from dirac_keras.phase_out import IdentityBound
from dirac_keras.phase_out.identity import mean_ratio
from dirac_keras.training.config import TrainConfig
from tests.phase_out.runs import RUN
from tests.run_checks import KillAfter, Killed, assert_same_run, train_fields

STEPS = 4  # of an epoch


def one_layer(identity, filter_scale=1.0, learning_rate=0.0, **options):
    """A model of one DiracDense of two units whose scales stay where they are but for the bound."""
    model = keras.Sequential([keras.Input((2,)), DiracDense(2, name="dirac", use_bias=False, **options)])
    layer = model.get_layer("dirac")
    layer.identity_scale.assign(identity)
    if layer.filter_scale is not None:
        layer.filter_scale.assign(np.full(2, filter_scale))
    model.compile(keras.optimizers.SGD(learning_rate), "mse")
    return model, layer


def train_and_watch(model, layer, bound, epochs=1, **options):
    """`a` after each step, float64 `(steps, units)`, and Keras' history."""
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            same = self.model.get_layer(layer.name)  # on JAX `self.model` is up to date
            seen.append(keras.ops.convert_to_numpy(same.identity_scale).copy())

    x = np.ones((STEPS, 2), "float32")
    history = model.fit(x, x, batch_size=1, epochs=epochs, verbose=0, callbacks=[bound, Watch()], **options)
    return np.array(seen, "float64"), history.history


def test_bound_falls_by_the_same_factor_in_each_step():
    model, layer = one_layer([8.0, -0.25])
    seen, history = train_and_watch(model, layer, IdentityBound(0.5, end_epoch=1, start_ratio=8))
    # 8 (1/16)^(k/4) = 4, 2, 1, 1/2; exponentials are right to some last bits, the end is exact
    np.testing.assert_allclose(seen[:, 0], [4, 2, 1, 0.5], rtol=1e-6)
    assert seen[-1, 0] == 0.5
    assert (seen[:, 1] == -0.25).all(), "what is within the bound is not touched"
    np.testing.assert_allclose(history["identity_ratio"], [(0.5 + 0.25) / 2], rtol=1e-7)


def test_bound_is_of_the_filters_own_scale_and_of_either_sign():
    model, layer = one_layer([-8.0, 8.0], filter_scale=1.0)
    layer.filter_scale.assign([0.5, -2.0])
    seen, _ = train_and_watch(model, layer, IdentityBound(1.0))
    np.testing.assert_array_equal(seen, [[-0.5, 2.0]] * STEPS)


def test_identity_is_gone_at_ratio_0_and_the_kernel_is_the_normalised_one():
    model, layer = one_layer([8.0, 8.0], filter_scale=0.5)
    seen, _ = train_and_watch(model, layer, IdentityBound(0, end_epoch=1, start_ratio=16))
    np.testing.assert_array_equal(seen[:, 0], [6, 4, 2, 0])  # 0.5 * 16 (1 - k/4)
    folded, _ = fold(model)
    raw = keras.ops.convert_to_numpy(layer.kernel)
    expected = 0.5 * raw / np.linalg.norm(raw, axis=0)
    np.testing.assert_allclose(folded.layers[-1].get_weights()[0], expected, rtol=1e-6)


def test_bound_waits_for_its_epoch_and_then_stays():
    model, layer = one_layer([8.0, 8.0])
    seen, _ = train_and_watch(model, layer, IdentityBound(1, start_epoch=1.5, end_epoch=2, start_ratio=4), epochs=3)
    np.testing.assert_allclose(seen[:, 0], [8] * 6 + [2, 1] + [1] * 4, rtol=1e-6)


def test_bound_holds_against_gradients():
    model, layer = one_layer([0.1, 0.1], learning_rate=10.0)
    model.fit(np.ones((8, 2)), np.full((8, 2), 50.0), verbose=0, callbacks=[IdentityBound(0.25)])
    a, b = (keras.ops.convert_to_numpy(scale) for scale in (layer.identity_scale, layer.filter_scale))
    assert np.abs(b).max() > 1.5, "the gradients are large"
    # the product is rounded once
    assert (np.abs(a) <= 0.25 * np.abs(b) * (1 + 1e-6)).all()


def test_norm_of_the_filter_stands_for_b_where_there_is_none():
    model, layer = one_layer([8.0, 8.0], use_weight_norm=False)
    layer.kernel.assign([[3.0, 0.0], [4.0, 1.0]])  # norms 5 and 1
    seen, _ = train_and_watch(model, layer, IdentityBound(0.5))
    np.testing.assert_allclose(seen[-1], [2.5, 0.5], rtol=1e-6)


def test_filter_of_zeros_before_the_bound_begins_stays_a_number():
    model, layer = one_layer([8.0, 8.0], use_weight_norm=False, kernel_initializer="zeros")
    seen, _ = train_and_watch(model, layer, IdentityBound(0.5, start_epoch=0.5, end_epoch=1, start_ratio=4))
    np.testing.assert_array_equal(seen[:, 0], [8, 8, 0, 0])


@pytest.mark.slow
def test_two_fits_are_one():
    """The step is the optimizer's: what resumes continues where it stopped."""
    bound = {"ratio": 0.25, "start_epoch": 0.5, "end_epoch": 2.5, "start_ratio": 8}
    model, layer = one_layer([8.0, 8.0])
    whole, _ = train_and_watch(model, layer, IdentityBound(**bound), epochs=3)
    model, layer = one_layer([8.0, 8.0])
    first, _ = train_and_watch(model, layer, IdentityBound(**bound), epochs=3, validation_split=None, initial_epoch=2)
    model, layer = one_layer([8.0, 8.0])
    x = np.ones((STEPS, 2), "float32")

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    model.fit(x, x, batch_size=1, epochs=3, verbose=0, callbacks=[IdentityBound(**bound), Stop()])
    rest, _ = train_and_watch(model, layer, IdentityBound(**bound), epochs=3, initial_epoch=1)
    np.testing.assert_array_equal(rest, whole[STEPS:])
    assert len(first) == STEPS


def test_layers_own_constraint_holds_too_and_is_given_back(tmp_path):
    own = keras.constraints.NonNeg()
    model, layer = one_layer([8.0, -1.0], identity_scale_constraint=own)
    seen, _ = train_and_watch(model, layer, IdentityBound(2))
    np.testing.assert_array_equal(seen[-1], [2, 0])
    assert layer.identity_scale.constraint is own
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.get_layer("dirac").identity_scale.constraint, keras.constraints.NonNeg)


def test_layers_in_nested_models_are_bound():
    inner = keras.Sequential([keras.Input((4, 4, 2)), DiracConv2D(2, 3, padding="same", name="inner")])
    model = keras.Sequential([keras.Input((4, 4, 2)), inner, keras.layers.GlobalAveragePooling2D()])
    model.compile("sgd", "mse")
    model.fit(np.ones((2, 4, 4, 2)), np.ones((2, 2)), verbose=0, callbacks=[IdentityBound(0.5)])
    assert mean_ratio([inner.get_layer("inner")]) <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio": -1}, "ratio must be a number of 0 or more. Received ratio=-1"),
        ({"ratio": float("nan")}, "ratio must be a number"),
        ({"ratio": 0.5, "start_epoch": 2, "end_epoch": 1}, "end_epoch must be start_epoch or more"),
        ({"ratio": 5, "start_ratio": 2}, "start_ratio must be above 0, and ratio or more"),
        ({"ratio": 0, "start_ratio": 0}, "start_ratio must be above 0"),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(arguments, message):
    with pytest.raises(ValueError, match=message):
        IdentityBound(**arguments)


@pytest.mark.parametrize("options", [{"end_epoch": 2}, {"start_epoch": 1, "end_epoch": 1}])
def test_bound_that_the_training_does_not_reach_is_refused(options):
    model, layer = one_layer([1.0, 1.0])
    with pytest.raises(ValueError, match="must come to its ratio within the training"):
        train_and_watch(model, layer, IdentityBound(1, **options))


def test_model_without_identities_is_refused():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must have a trainable Dirac layer"):
        model.fit(np.ones((2, 2)), np.ones((2, 2)), verbose=0, callbacks=[IdentityBound(1)])


FIELDS = {**RUN, "epochs": 2, "max_train": 256, "identity_bound": 0.5}


@pytest.mark.slow
def test_a_run_keeps_the_bound_and_resumes_to_the_same_weights(tmp_path):
    fields = {**FIELDS, "identity_bound_start": 0.25, "identity_bound_end": 1.75}
    whole = train_fields(fields, tmp_path / "whole")
    with pytest.raises(Killed):
        train_fields({**fields, "checkpoint_steps": 3}, tmp_path / "killed", callbacks=[KillAfter(step=4)])
    assert_same_run(train_fields({**fields, "checkpoint_steps": 3}, tmp_path / "killed"), whole)
    layers = [layer for layer in whole.model.layers if isinstance(layer, DiracConv2D)]
    for layer in layers:
        a, b = (keras.ops.convert_to_numpy(scale) for scale in (layer.identity_scale, layer.filter_scale))
        assert (np.abs(a) <= 0.5 * np.abs(b) * (1 + 1e-6)).all()
    ratios = [row["identity_ratio"] for row in whole.history]
    assert ratios[0] > ratios[1] == pytest.approx(mean_ratio(layers))


def test_config_fills_the_end_of_the_fall():
    assert TrainConfig(**FIELDS).identity_bound_end == 1.2  # 60 % of the epochs
    assert TrainConfig(**FIELDS, identity_bound_start=1.5).identity_bound_end == 1.5
    assert TrainConfig(depth=10).identity_bound_end is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"identity_bound": -0.5}, "identity_bound must be 0 or more"),
        ({"parameterization": "plain"}, "identity_bound needs kernels with a scale a"),
        ({"parameterization": "dirac_unscaled"}, "identity_bound needs kernels with a scale a"),
        ({"ema_momentum": 0.99}, "ema_momentum must be 0 beside identity_bound"),
        ({"identity_bound_end": 3}, "The bound must begin to fall before the training ends"),
        ({"identity_bound_start": 2}, "The bound must begin to fall before the training ends"),
        ({"identity_bound_start": 1.5, "identity_bound_end": 1}, "The bound must begin to fall"),
        ({"family": "wide_resnet"}, "identity_bound is a field of family=diracnet"),
    ],
)
def test_bad_field_gets_a_message_that_names_it(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{**FIELDS, **fields})
