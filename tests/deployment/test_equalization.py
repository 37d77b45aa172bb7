"""Cross-layer equalization: the same function, channels that are more alike."""

import itertools

import keras
import numpy as np
import pytest

from dirac_keras.deployment.quantization import equalizable_pairs, equalize
from dirac_keras.deployment.quantization.network import Network
from tests.deployment.quantized_networks import CHANNELS, SIDE, branched, images, random_weights


def test_largest_weights_of_a_channel_become_equal_in_both_layers():
    inputs = keras.Input((2,))
    x = keras.layers.ReLU()(keras.layers.Dense(2, name="first")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, name="second")(x))
    model.get_layer("first").set_weights([np.array([[4.0, 1.0], [-2.0, 0.5]]), np.array([6.0, 3.0])])
    model.get_layer("second").set_weights([np.array([[1.0], [-4.0]]), np.array([5.0])])
    equal, pairs = equalize(model)
    assert [(pair.first, pair.second) for pair in pairs] == [("first", "second")]
    # s = sqrt(4 / 1) = 2 for the first channel, sqrt(1 / 4) for the second
    np.testing.assert_allclose(equal.get_layer("first").get_weights()[0], [[2.0, 2.0], [-1.0, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(equal.get_layer("first").get_weights()[1], [3.0, 6.0], rtol=1e-6)
    np.testing.assert_allclose(equal.get_layer("second").get_weights()[0], [[2.0], [-2.0]], rtol=1e-6)
    np.testing.assert_array_equal(equal.get_layer("second").get_weights()[1], [5.0])


def _network():
    x = inputs = keras.Input((SIDE, SIDE, CHANNELS))
    x = keras.layers.LeakyReLU(0.3)(keras.layers.Conv2D(5, 3, padding="same", name="conv1")(x))
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu", name="depthwise")(x)
    x = keras.layers.Conv2D(4, 1, name="conv2")(x)
    x = keras.layers.Flatten()(keras.layers.ReLU()(x))
    return random_weights(keras.Model(inputs, keras.layers.Dense(3, name="head")(x)))


@pytest.mark.parametrize("objective", ["weights", "activations"])
def test_outputs_stay_through_leaky_relu_pooling_depthwise_and_flatten(objective):
    model, given = _network(), images(16)
    equal, pairs = equalize(model, given, objective)
    paths = ["conv1", "depthwise", "conv2", "head"]
    assert [(pair.first, pair.second) for pair in pairs] == list(itertools.pairwise(paths))
    assert max(np.abs(a - b).max() for a, b in zip(model.get_weights(), equal.get_weights(), strict=True)) > 0.01
    before, after = (np.asarray(keras.ops.convert_to_numpy(m(given))) for m in (model, equal))
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())  # rounding of float32


def test_ranges_of_activations_come_closer():
    model = _network()
    model.get_layer("conv1").kernel.assign(model.get_layer("conv1").kernel * np.array([1, 10, 0.1, 1, 1], "float32"))
    given = images(16)

    def spread(m):
        values = keras.ops.convert_to_numpy(m.get_layer("conv1")(given)).reshape(-1, 5)
        ranges = np.abs(values).max(axis=0)
        return ranges.max() / ranges.min()

    assert spread(equalize(model, given, "activations", strength=1.0)[0]) < 3 < 20 < spread(model)


def test_a_bound_an_addition_and_a_second_call_leave_no_pair():
    assert equalizable_pairs(Network(branched())) == ()


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match=r"objective must be one of weights, activations\. Received objective='x'"):
        equalize(_network(), objective="x")
    with pytest.raises(ValueError, match="needs images"):
        equalize(_network(), objective="activations")
    with pytest.raises(ValueError, match=r"between 0 and 1\. Received strength=2"):
        equalize(_network(), images(2), "activations", strength=2)
