"""Identity taps in a branch of their own: the same function, and weights that small integers hold."""

import keras
import numpy as np
import pytest

from dirac_keras.deployment.quantization import round_weights, signal_to_noise_db, split_identity
from dirac_keras.deployment.quantization.identity_apart import identity_ratios
from tests.deployment.quantized_networks import chain, images, random_weights


def outputs(model, given):
    return keras.ops.convert_to_numpy(model(given))


def test_ratio_of_an_identity_tap():
    layer = keras.layers.Conv2D(2, 3, padding="same")
    layer.build((None, 5, 5, 2))
    kernel = np.ones((3, 3, 2, 2))
    kernel[1, 1] += np.diag([4.0, -9.0])  # 5 and -8 beside 17 taps of 1
    layer.set_weights([kernel, np.zeros(2)])
    np.testing.assert_allclose(identity_ratios(layer), [5.0, 8.0], rtol=1e-6)


@pytest.mark.parametrize("options", [{"strides": 2}, {"padding": "valid"}, {"groups": 2}, {"kernel_size": 2}])
def test_other_convolutions_have_no_identity_tap(options):
    layer = keras.layers.Conv2D(**{"filters": 4, "kernel_size": 3, "padding": "same", **options})
    layer.build((None, 6, 6, 4))
    assert identity_ratios(layer) is None


def test_the_function_is_the_same_and_the_taps_are_apart():
    model, given = chain(depth=2), images(8)
    apart, split = split_identity(model)
    assert [layer.name for layer in split] == ["conv0", "conv1"]
    assert all(layer.ratio > 10 for layer in split)
    np.testing.assert_allclose(outputs(apart, given), outputs(model, given), atol=1e-6)  # one addition more in float32
    kernel, whole = apart.get_layer("conv1").get_weights()[0], model.get_layer("conv1").get_weights()[0]
    assert not np.diagonal(kernel[1, 1]).any()
    taps = apart.get_layer("conv1_identity").get_weights()[0].reshape(-1)
    np.testing.assert_array_equal(taps, np.diagonal(whole[1, 1]))


def test_sequential_and_nested_networks_are_split_too():
    model, given = keras.Sequential([keras.Input((6, 6, 8)), chain(depth=1)]), images(4)
    apart, split = split_identity(model)
    assert len(split) == 1
    np.testing.assert_allclose(outputs(apart, given), outputs(model, given), atol=1e-6)


@pytest.mark.parametrize("filters", [5, 12])
def test_a_convolution_that_widens_or_narrows_is_split_by_an_ordinary_one(filters):
    inputs = keras.Input((6, 6, 8))
    model = keras.Model(inputs, keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="conv")(inputs))
    kernel, bias = model.get_layer("conv").get_weights()
    kernel = 0.1 * kernel
    kernel[1, 1] += np.eye(8, filters)
    model.get_layer("conv").set_weights([kernel, bias + 0.1])
    given = images(8)
    apart, split = split_identity(model)
    assert len(split) == 1 and apart.get_layer("conv_identity").kernel.shape == (1, 1, 8, filters)
    np.testing.assert_allclose(outputs(apart, given), outputs(model, given), atol=1e-6)
    assert np.abs(apart.get_layer("conv").get_weights()[0]).max() < 0.1


def test_what_stands_apart_survives_four_bits():
    model, given = chain(depth=3), images(32)
    apart, _ = split_identity(model)
    reference = outputs(model, given)
    figures = [signal_to_noise_db(reference, outputs(round_weights(m, given, 4, "nearest")[0], given))
               for m in (model, apart)]  # fmt: skip
    assert figures[1] > figures[0] + 6


def test_a_network_without_identities_is_refused():
    with pytest.raises(ValueError, match="no convolution whose identity taps are 4 times the rms"):
        split_identity(random_weights(chain(depth=1, identity=0.0)))
