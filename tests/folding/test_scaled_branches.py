"""Constants on linear branches, as in `x + 0.3 * y`: folded with them into one convolution, equal."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras import assert_plain, fold, plainify
from dirac_keras.errors import UserError
from tests.layer_checks import randomize_weights

CHANNELS = 6
PER_CHANNEL = np.linspace(-1.0, 2.0, CHANNELS).astype("float32")


def conv(x, size=3):
    return layers.Conv2D(CHANNELS, size, padding="same")(x)


def norm(x):
    return layers.BatchNormalization()(x)


BRANCHES = {
    "scalar on the skip": lambda x: conv(x) + 0.3 * x,
    "scalar on the convolution": lambda x: x + conv(x) * 0.3,
    "scalar and normalization": lambda x: norm(conv(x)) + 0.3 * norm(x),
    "quotient": lambda x: conv(x) + x / 4,
    "negative": lambda x: -conv(x) + x,
    "difference from a constant": lambda x: conv(x) + (1.0 - 0.5 * x),
    "one for each channel": lambda x: conv(x) + x * ops.convert_to_tensor(PER_CHANNEL),
    "of the layer Rescaling": lambda x: layers.Add()([conv(x), layers.Rescaling(0.3, offset=0.2)(x)]),
    "two convolutions": lambda x: 2.0 * conv(x) + 0.25 * conv(x, 1),
    "between two": lambda x: conv(x) + conv(0.3 * conv(x), 1),
    "of the sum": lambda x: 2.0 * (conv(x) + 0.3 * x) - 1.0,
}


def network(branches):
    inputs = keras.Input((7, 7, 3))
    x = branches(layers.ReLU()(conv(inputs)))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.ReLU()(x)))
    randomize_weights(model)
    return model


def outputs(model):
    images = np.random.default_rng(1).normal(size=(2, 7, 7, 3)).astype("float32")
    return ops.convert_to_numpy(model(images))


def largest_difference(model, other):
    expected = outputs(model)
    return np.abs(outputs(other) - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("branches", BRANCHES.values(), ids=BRANCHES)
def test_constants_on_linear_branches_are_folded_with_them(branches):
    model = network(branches)
    plain, _ = fold(model)
    assert_plain(plain)
    assert largest_difference(model, plain) < 1e-5  # float32, three layers
    assert len([layer for layer in plain.layers if hasattr(layer, "kernel")]) == 2


def test_the_merged_kernel_is_the_sum_with_its_factors():
    """By hand: 2 w on the tap itself, 0.3 more for the skip, and the bias doubled."""
    inputs = keras.Input((5, 5, 1))
    x = layers.ReLU()(inputs)
    branch = layers.Conv2D(1, 3, padding="same", name="conv")
    model = keras.Model(inputs, 2.0 * branch(x) + 0.3 * x)
    kernel = np.arange(9.0).reshape(3, 3, 1, 1)
    branch.set_weights([kernel, np.array([0.5])])
    plain, _ = fold(model)
    expected = 2.0 * kernel
    expected[1, 1] += 0.3
    merged, bias = plain.get_layer("conv").get_weights()
    np.testing.assert_allclose(merged, expected, rtol=1e-6)
    np.testing.assert_allclose(bias, [1.0])


def test_numbers_that_differ_from_place_to_place_stay():
    places = np.random.default_rng(0).normal(size=(7, 7, 1)).astype("float32")
    model = network(lambda x: conv(x) + x * ops.convert_to_tensor(places))
    plain, _ = fold(model)
    with pytest.raises(AssertionError, match="joins 2 tensors"):
        assert_plain(plain)
    assert largest_difference(model, plain) < 1e-5


def test_a_shift_before_padding_stays():
    """The zeros around the image do not have it."""
    model = network(lambda x: conv(x + 1.5) + x)
    plain, _ = fold(model)
    with pytest.raises(AssertionError, match="joins 2 tensors"):
        assert_plain(plain)
    assert largest_difference(model, plain) < 1e-5


@pytest.mark.parametrize("branches", [
    lambda x: x + 0.3 * conv(layers.ReLU()(conv(x))),
    lambda x: 0.3 * x + conv(layers.ReLU()(conv(x))),
    lambda x: 0.5 * x + 0.3 * conv(layers.ReLU()(conv(x))) + 0.1,
], ids=["on the branch", "on the skip", "on both, and a shift"])  # fmt: skip
def test_residual_branches_with_constants_are_made_plain(branches):
    model = network(branches)
    plain, _ = plainify(model)
    assert_plain(plain)
    assert largest_difference(model, plain) < 1e-5


@pytest.mark.slow
def test_constants_that_no_kernel_takes_are_carried_past():
    """Between two activations, and where padding stands behind the shift."""
    model = network(lambda x: x + conv(layers.ReLU()(layers.ReLU()(conv(x)) * 0.3 - 0.2) + 1.5))
    plain, _ = plainify(model)
    assert_plain(plain)
    assert largest_difference(model, plain) < 1e-5


def test_numbers_for_each_place_are_named_as_the_reason():
    places = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(7, 7, 1)).astype("float32"))
    model = network(lambda x: x + conv(layers.ReLU()(conv(x)) * places))
    with pytest.raises(UserError, match="has other numbers at other places"):
        plainify(model)
