"""`diracify` and `undiracify`: other layers, the same outputs."""

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras import diracify, undiracify
from dirac_keras.errors import UserError
from dirac_keras.layers import DiracConv1D, DiracConv2D, DiracDense
from tests.folding.helpers import TOLERANCE, chain, relative_difference


@pytest.fixture(scope="module")
def model():
    return chain(
        (9, 8, 3),
        layers.Conv2D(4, 3, padding="same", activation="relu", name="wider"),
        layers.Conv2D(4, 3, padding="same", use_bias=False, name="ordinary"),
        layers.BatchNormalization(),
        layers.Conv2D(4, (1, 3), groups=2, activation="relu", kernel_regularizer="l2", name="grouped"),
        layers.Conv2D(4, 2, name="even"),
        layers.Conv2D(4, 3, strides=2, name="strided"),
    )


def test_convolutions_inside_other_layers_are_counted_and_said():
    inner = chain((8, 8, 4), layers.Conv2D(4, 3, padding="same", name="conv"))
    inputs = keras.Input((2, 8, 8, 4))
    stepwise = keras.Model(inputs, layers.TimeDistributed(inner, name="each")(inputs))
    with pytest.raises(ValueError, match=rf"'each/{inner.name}/conv': lies in a TimeDistributed, whose layers stay"):
        diracify(stepwise)
    images = keras.Input((8, 8, 4))
    nested = keras.Model(images, inner(images))
    assert diracify(nested, report=True)[1].changed == (f"{inner.name}/conv",) and nested.layers[1] is inner


def test_convolutions_become_dirac_layers_with_the_same_outputs(model):
    changed, report = diracify(model, report=True)
    assert report.changed == ("ordinary", "grouped")
    assert report.left.keys() == {"wider", "even", "strided"}
    assert "changed 2 of 5" in str(report)
    kinds = {layer.name: type(layer) for layer in changed.layers}
    assert kinds["ordinary"] is kinds["grouped"] is DiracConv2D
    assert kinds["strided"] is layers.Conv2D
    assert changed.get_layer("grouped").kernel_regularizer is not None
    assert relative_difference(model, changed) < TOLERANCE


def test_round_trip_gives_the_weights_back(model):
    again = undiracify(diracify(model))
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]
    for before, after in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6)


def test_the_split_is_into_the_identity_and_what_has_nothing_of_it():
    """By hand: a filter with 3 on the identity's tap and 4 elsewhere is 3 I + 4 W_norm; the raw kernel has norm 4."""
    model = chain((5, 5, 1), layers.Conv2D(1, 3, padding="same", use_bias=False))
    kernel = np.zeros((3, 3, 1, 1), "float32")
    kernel[1, 1], kernel[0, 2] = 3.0, 4.0
    model.set_weights([kernel])
    layer = diracify(model).layers[1]
    assert float(layer.identity_scale[0]) == 3.0
    assert float(layer.filter_scale[0]) == 4.0
    raw = keras.ops.convert_to_numpy(layer.kernel)
    assert raw[1, 1, 0, 0] == 0.0
    assert np.linalg.norm(raw) == pytest.approx(4.0)


def test_a_filter_that_is_the_identity_can_still_be_trained():
    model = chain((5, 5, 1), layers.Conv2D(1, 3, padding="same", use_bias=False))
    kernel = np.zeros((3, 3, 1, 1), "float32")
    kernel[1, 1] = 1.0
    model.set_weights([kernel])
    changed = diracify(model)
    assert float(changed.layers[1].filter_scale[0]) == 0.0
    assert np.linalg.norm(keras.ops.convert_to_numpy(changed.layers[1].kernel)) > 0.1, "else its gradient were zero"
    assert relative_difference(model, changed) < TOLERANCE


def test_gradients_are_those_of_the_ordinary_kernel():
    """A step of gradient descent on the raw kernel moves the effective one, off the identity, as before."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes gradients by TensorFlow's tape")
    import tensorflow as tf

    model = chain((5, 5, 2), layers.Conv2D(2, 3, padding="same", use_bias=False))
    changed = diracify(model)
    images = np.random.default_rng(0).normal(size=(4, 5, 5, 2)).astype("float32")
    gradients = []
    for of in (model, changed):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(of(images) - 1.0))
        gradients.append(tape.gradient(loss, of.layers[1].kernel.value).numpy())
    plain, raw = gradients
    direction = keras.ops.convert_to_numpy(changed.layers[1].kernel)
    direction = direction / np.linalg.norm(direction.reshape(-1, 2), axis=0)
    across = plain - direction * np.sum(plain * direction, axis=(0, 1, 2))
    np.testing.assert_allclose(raw, across, rtol=1e-3, atol=1e-3 * np.abs(plain).max())


def test_causal_and_nested_ones_change_too():
    inner = chain((8, 3), layers.Conv1D(3, 3, padding="causal", name="causal"))
    inputs = keras.Input((8, 3))
    model = keras.Model(inputs, layers.ReLU()(inner(inputs)))
    changed, report = diracify(model, report=True)
    assert report.changed == (f"{inner.name}/causal",)
    assert type(changed.layers[1].get_layer("causal")) is DiracConv1D
    assert relative_difference(model, changed) < TOLERANCE


def test_dirac_dense_becomes_dense():
    model = chain((5,), DiracDense(5, name="dense"))
    changed = undiracify(model)
    assert type(changed.get_layer("dense")) is layers.Dense
    assert relative_difference(model, changed) < TOLERANCE


def test_changed_model_trains_and_saves(model, tmp_path):
    changed = diracify(model)
    changed.save(tmp_path / "dirac.keras")
    assert relative_difference(changed, keras.saving.load_model(tmp_path / "dirac.keras")) == 0.0
    assert len(changed.trainable_variables) == len(model.trainable_variables) + 4


@pytest.mark.parametrize("function", [diracify, undiracify])
def test_nothing_to_change_is_an_error(function):
    wanted = "convolutions that can change" if function is diracify else "Dirac layers"
    reason = "in which none can change: 'conv': has strides" if function is diracify else "which has none"
    with pytest.raises(UserError, match=f"must have {wanted}.*{reason}"):
        function(chain((6, 6, 3), layers.Conv2D(4, 3, strides=2, name="conv")))
    with pytest.raises(UserError, match=r"must be a keras\.Model"):
        function(None)


@pytest.mark.parametrize("size", [3e-4, 20.0])
def test_outputs_stay_in_float16_for_small_and_for_large_weights(size):
    """Squares of such weights, or their sum, leave what float16 holds."""
    model = chain((6, 6, 16), layers.Conv2D(16, 3, use_bias=False, dtype="float16", name="conv"))
    random = np.random.default_rng(0)
    model.set_weights([(size * random.normal(size=(3, 3, 16, 16))).astype("float16")])
    assert relative_difference(model, diracify(model)) < 5e-3  # some ten roundings of 2^-11
