"""ReLU before max pooling: the same function, and what is left alone."""

import keras
import numpy as np
import pytest

from dirac_keras.deployment.quantization.ordering import relu_before_pool
from dirac_keras.graph.trace import trace

LAYERS = keras.layers


def _images(*shape):
    return np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")


def _order(model):
    return [call.path for call in trace(model).calls]


@pytest.mark.parametrize("relu", [LAYERS.ReLU(name="relu"), LAYERS.Activation("relu", name="relu")])
@pytest.mark.parametrize("is_nested", [False, True])
def test_the_function_is_the_same_bit_by_bit(relu, is_nested):
    inner = keras.Sequential(
        [
            keras.Input((9, 9, 2)),
            LAYERS.Conv2D(3, 3, padding="same", bias_initializer="random_normal", name="conv"),
            LAYERS.MaxPooling2D(3, 2, padding="same", name="pool"),
            relu.__class__.from_config(relu.get_config()),
            LAYERS.Flatten(name="flat"),
            LAYERS.Dense(3, name="head"),
        ],
        name="inner",
    )
    model = inner
    if is_nested:
        images = keras.Input((9, 9, 2))
        model = keras.Model(images, inner(images))
    swapped, moved = relu_before_pool(model)
    scope = "inner/" if is_nested else ""
    assert moved == (f"{scope}pool",)
    assert _order(swapped) == [f"{scope}{name}" for name in ("conv", "relu", "pool", "flat", "head")]
    images = _images(9, 9, 2)
    np.testing.assert_array_equal(swapped.predict(images, verbose=0), model.predict(images, verbose=0))


def test_a_pooling_that_others_read_and_an_average_stay():
    images = keras.Input((8, 8, 2))
    x = LAYERS.MaxPooling2D(name="shared")(images)
    x = LAYERS.Add()([x, LAYERS.ReLU(name="first")(x)])
    x = LAYERS.AveragePooling2D(2, name="average")(x)
    x = LAYERS.ReLU(name="second")(x)
    x = LAYERS.MaxPooling2D(name="last")(x)
    x = LAYERS.Activation("tanh")(x)
    model = keras.Model(images, x)
    swapped, moved = relu_before_pool(model)
    assert moved == ()
    values = _images(8, 8, 2)
    np.testing.assert_array_equal(swapped.predict(values, verbose=0), model.predict(values, verbose=0))
