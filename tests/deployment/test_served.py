"""A network with its preprocessing inside gives for pixels what it gives for what it is fed with."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import expit, softmax

from dirac_keras.deployment.heads import find_head
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.pictures import fed
from dirac_keras.deployment.served import build_served, output_names

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)


def network(units=3, activation=None, dtype=None, name=None):
    inputs = keras.Input((4, 4, 3), dtype=dtype, name=name)
    x = layers.Conv2D(4, 3, activation="relu")(inputs if dtype is None else layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, layers.Dense(units, activation=activation)(layers.Flatten()(x)))


def spec(mean=(120.0, 110.0, 100.0), std=(60.0, 50.0, 40.0), classes=3):
    return ImageSpec((4, 4, 3), tuple("abc"[:classes]), mean, std, None)


def serve(model, spec, pixels=PIXELS, **options):
    served = build_served(model, spec, find_head(model), **options)
    assert served.inputs[0].name == "images"
    return {name: np.asarray(value) for name, value in served(pixels).items()}


def test_channels_have_a_mean_and_a_deviation_each():
    model = network()
    logits = np.asarray(model(fed(PIXELS, spec())))
    outputs = serve(model, spec())
    # pixel * (1 / std) - mean / std in float32 where the reference divides: some 1e-6
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(outputs["probabilities"], softmax(logits, -1), atol=1e-5)


@pytest.mark.parametrize(("mean", "std"), [(127.5, 127.5), (0.0, 1.0)], ids=["symmetric", "pixels"])
def test_one_scale_for_all_channels(mean, std):
    model, one = network(), spec((mean,) * 3, (std,) * 3)
    logits = np.asarray(model(fed(PIXELS, one)))
    np.testing.assert_allclose(serve(model, one)["logits"], logits, rtol=1e-5, atol=1e-5)


def test_model_of_integers_gets_the_pixels():
    model, one = network(dtype="uint8"), spec((0.0,) * 3, (1.0,) * 3)
    np.testing.assert_allclose(serve(model, one)["logits"], model(PIXELS), atol=1e-5)


def test_probabilities_are_given_as_they_are():
    model = network(activation="softmax")
    outputs = serve(model, spec())
    assert set(outputs) == {"probabilities"}
    np.testing.assert_allclose(outputs["probabilities"], model(fed(PIXELS, spec())), atol=1e-5)


def test_one_unit_is_the_second_of_two_classes():
    model = network(units=1)
    second = expit(np.asarray(model(fed(PIXELS, spec(classes=2)))))
    outputs = serve(model, spec(classes=2))
    np.testing.assert_allclose(outputs["probabilities"], np.concatenate([1 - second, second], -1), atol=1e-5)


def test_outputs_can_be_the_logits_alone_and_the_batch_fixed():
    served = build_served(network(name="picture"), spec(), find_head(network()), batch=2, outputs=("logits",))
    assert set(served.output) == {"logits"}
    assert served.inputs[0].shape == (2, 4, 4, 3)


def test_augmentation_is_not_active():
    inputs = keras.Input((4, 4, 3))
    x = layers.RandomFlip()(layers.GaussianNoise(1.0)(inputs))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    first = serve(model, spec())["logits"]
    for _ in range(4):
        np.testing.assert_array_equal(serve(model, spec())["logits"], first)


def test_names_are_those_of_the_model():
    assert output_names(find_head(network())) == ("logits", "probabilities")
    assert output_names(find_head(network(activation="softmax"))) == ("probabilities",)
