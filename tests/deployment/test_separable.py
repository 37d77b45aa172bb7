"""Separable convolutions as two layers: the same function, each with integers of its own."""

import keras
import numpy as np
import pytest

from dirac_keras.deployment.quantization import quantize
from dirac_keras.deployment.quantization.separable import split_separable
from tests.deployment.quantized_networks import CHANNELS, SIDE, images, random_weights

LAYERS = keras.layers
OPTIONS = {
    "strided": {"strides": 2, "padding": "same", "activation": "relu"},
    "dilated": {"dilation_rate": 2, "depth_multiplier": 2, "use_bias": False},
}


def network(layer, *more):
    x = inputs = keras.Input((SIDE, SIDE, CHANNELS))
    for each in (layer, *more):
        x = each(x)
    x = LAYERS.GlobalAveragePooling2D(name="pool")(x)
    return random_weights(keras.Model(inputs, LAYERS.Dense(4, name="head")(x), name="separable"))


def same(model, other, given):
    # The two backends' separable convolution is the same two, but may be one kernel: float32 in another order.
    np.testing.assert_allclose(*(keras.ops.convert_to_numpy(each(given)) for each in (model, other)), atol=1e-5)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_function_is_the_same(name):
    model = network(LAYERS.SeparableConv2D(6, 3, name="sep", **OPTIONS[name]))
    split, paths = split_separable(model)
    assert paths == ("sep",)
    assert [layer.name for layer in split.get_layer("sep").layers[1:]] == ["sep_depthwise", "sep_pointwise"]
    same(model, split, images(4))


def test_one_axis_nested_and_called_twice():
    inner = keras.Sequential(
        [keras.Input((9, 2)), LAYERS.SeparableConv1D(2, 3, padding="same", name="sep")], name="inner"
    )
    inputs = keras.Input((9, 2))
    model = random_weights(keras.Model(inputs, LAYERS.Flatten()(inner(inner(inputs)))))
    split, paths = split_separable(model)
    assert paths == ("inner/sep",)
    same(model, split, np.random.default_rng(0).normal(size=(3, 9, 2)).astype("float32"))
    assert split_separable(split) == (split, ())


def test_both_kernels_become_integers_and_nothing_is_left():
    model = network(LAYERS.Conv2D(CHANNELS, 3, name="conv"), LAYERS.SeparableConv2D(6, 3, padding="same", name="sep"))
    copy, report = quantize(model, images(32), cures=("follow",))
    assert [layer.name for layer in report.layers] == ["conv", "sep/sep_depthwise", "sep/sep_pointwise", "head"]
    assert not report.left and report.db > 30
    assert "separable convolutions as the two that they are, 1 times: the same numbers" in report.notes
    assert isinstance(model.get_layer("sep"), LAYERS.SeparableConv2D)  # the model itself stays what it was
    kernel = keras.ops.convert_to_numpy(copy.get_layer("sep").get_layer("sep_pointwise").kernel)
    whole = kernel.reshape(-1, 6) / (np.abs(kernel).reshape(-1, 6).max(axis=0) / 127)
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-3)
