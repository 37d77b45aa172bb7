"""GELU: Keras' numbers, a gradient that is right, and nothing of this package in a folded network."""

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras import fold
from dirac_keras.layers import Gelu

POINTS = np.array([-30.0, -3.0, -0.5, 0.0, 1.0, 2.5, 30.0], "float32")


@pytest.mark.parametrize("training", [False, True])
def test_value_by_hand(training):
    """`1 Phi(1) = 0.841345`; `-0.5 Phi(-0.5) = -0.5 * 0.308538`; nothing of what lies far below zero."""
    outputs = ops.convert_to_numpy(Gelu()(POINTS, training=training))
    np.testing.assert_allclose(outputs[[2, 3, 4]], [-0.154269, 0.0, 0.841345], rtol=1e-5)
    np.testing.assert_allclose(outputs, ops.convert_to_numpy(keras.activations.gelu(POINTS)), rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("bfloat16", 2**-8), ("float16", 2**-11)])
def test_training_gives_value_and_derivative_rounded_once(dtype, tolerance):
    """The derivative is `Phi(x) + x phi(x)`: 1.083316 at 1, and 0.5 at 0."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("elsewhere it is Keras' own")
    import tensorflow as tf

    x = tf.constant(POINTS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = Gelu(dtype=keras.DTypePolicy(f"mixed_{dtype}" if dtype != "float32" else dtype))(x, training=True)
    gradient = tape.gradient(outputs, x).numpy()
    np.testing.assert_allclose(gradient[[3, 4]], [0.5, 1.083316], rtol=2 * tolerance)
    with tf.GradientTape() as tape:
        tape.watch(x)
        exact = keras.activations.gelu(x)
    np.testing.assert_allclose(tf.cast(outputs, "float32"), exact, rtol=2 * tolerance, atol=2e-7)
    np.testing.assert_allclose(gradient, tape.gradient(exact, x), rtol=2 * tolerance, atol=2e-7)


def test_folded_network_has_keras_own():
    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3), Gelu(name="act")])
    folded, _ = fold(model)
    assert Gelu.from_config(model.get_layer("act").get_config()).name == "act"
    layer = folded.get_layer("act")
    assert type(layer) is keras.layers.Activation and layer.activation is keras.activations.gelu
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype("float32")
    np.testing.assert_allclose(folded(x), model(x), rtol=1e-6, atol=1e-6)
