"""An untrained network is measured as its first step of training sees it."""

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras.diagnostics import measure
from dirac_keras.diagnostics.start import first_images, take_statistics
from dirac_keras.diagnostics.taps import Network
from dirac_keras.layers import BatchNormalization
from dirac_keras.models import build_plainnet


def data(count=64, size=16):
    random = np.random.default_rng(0)
    return random.normal(size=(count, size)).astype("float32"), random.integers(0, 4, count)


def network():
    inputs = keras.Input((16,))
    x = layers.Dense(24, activation="relu", name="dense1")(inputs)
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


@pytest.mark.parametrize("normalization", [BatchNormalization, layers.BatchNormalization])
def test_start_is_normalized_by_its_own_statistics(normalization):
    model = build_plainnet(
        depth=3, units=12, input_shape=(4, 4, 1), scenario="bn", num_classes=4, normalization=normalization
    )
    images, labels = data(200)
    images = 5 * images.reshape(-1, 4, 4, 1) + 3
    before = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    diagnosis = measure(model, (images, labels), at_start=True, batch_size=32)
    expected = keras.ops.convert_to_numpy(
        keras.Model(model.input, model.get_layer("dense3_act").output)(images, training=True)
    )
    for value, weight in zip(before, model.weights, strict=False):
        if "moving" in weight.path:
            weight.assign(value)
    assert diagnosis.samples == 200 and diagnosis.at_start
    np.testing.assert_allclose(diagnosis.layers[2].activations.mean, expected.mean(), rtol=1e-4)
    np.testing.assert_allclose(diagnosis.layers[2].activations.max_absolute, np.abs(expected).max(), rtol=1e-4)


def test_measuring_a_start_changes_nothing():
    model = build_plainnet(depth=2, units=8, input_shape=(4, 4, 1), scenario="bn", num_classes=4)
    momenta = [layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    before = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    images, labels = data(50)
    measure(model, (images.reshape(-1, 4, 4, 1), labels), at_start=True)
    after = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert momenta == [layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def test_start_takes_the_first_images_only():
    diagnosis = measure(network(), data(700), at_start=True, batch_size=100)
    assert diagnosis.samples == 512


def test_large_networks_start_on_fewer_images(monkeypatch):
    monkeypatch.setattr("dirac_keras.diagnostics.start.MAX_ELEMENTS", 24 * 10)
    images, labels = data(50)
    inputs, classes = first_images(Network(network()), [([images[:7]], labels[:7]), ([images[7:]], labels[7:])])
    assert len(inputs[0]) == len(classes) == 10
    np.testing.assert_array_equal(inputs[0], images[:10])


def test_statistics_of_a_shared_layer_are_taken_and_its_momentum_put_back():
    shared = layers.BatchNormalization(momentum=0.7)
    inputs = keras.Input((16,))
    model = keras.Model(inputs, layers.Dense(4)(shared(layers.Dense(16)(shared(inputs)))))
    take_statistics(Network(model), [data()[0]])
    assert np.any(keras.ops.convert_to_numpy(shared.moving_mean) != 0)
    assert shared.momentum == 0.7
