"""What a network does to its images is found by what it does to black and white ones."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras.graph.preprocessing import find_preprocessing


def network(*front, shape=(32, 32, 3), dtype=None):
    x = inputs = keras.Input(shape, dtype=dtype)
    for step in front:
        x = step(x)
    x = layers.Conv2D(4, 3)(x)
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


class Own(layers.Layer):
    """A converter with the mean of each channel as a weight that is not trained."""

    def build(self, shape):
        self.mean = self.add_weight(
            name="mean", shape=(3,), initializer=lambda *_, **__: 117.0 * ops.ones(3), trainable=False
        )

    def call(self, x):
        return (x - ops.convert_to_tensor(self.mean)) / 58.0


def nested():
    return keras.Sequential(
        [keras.Input((32, 32, 3)), layers.RandomFlip(), layers.Rescaling(1 / 127.5, -1.0)], name="front"
    )


MEAN = np.array([103.9, 116.8, 123.7], "float32")
# steps in front -> what they expect, and the names of what changes values
FOUND = {
    "rescaling": ((lambda: layers.Rescaling(1 / 255, name="scale"),), "pixels", ("scale",)),
    "nested_rescaling_behind_augmentation": ((nested,), "pixels", ("front/rescaling",)),
    "from_unit_to_symmetric": ((lambda: layers.Rescaling(2.0, -1.0, name="scale"),), "unit", ("scale",)),
    "division": ((lambda: lambda x: x / 255.0,), "pixels", ("true_divide",)),
    "operations": ((lambda: lambda x: ops.divide(x, 127.5) - 1.0,), "pixels", ("divide", "subtract")),
    "mean_of_the_channels_bgr": ((lambda: lambda x: x[..., ::-1] - MEAN,), "pixels", ("subtract",)),
    "half_subtracted": ((lambda: lambda x: x - 0.5,), "unit", ("subtract",)),
    "normalization_of_pixels": (
        (lambda: layers.Normalization(mean=[123.0, 117.0, 104.0], variance=[3364.0] * 3, name="n"),),
        "pixels",
        ("n",),
    ),
    "normalization_of_units": (
        (lambda: layers.Normalization(mean=[0.48, 0.46, 0.41], variance=[0.05] * 3, name="n"),),
        "unit",
        ("n",),
    ),
    "rescaling_and_normalization": (
        (
            lambda: layers.Rescaling(1 / 255, name="scale"),
            lambda: layers.Normalization(mean=[0.48, 0.46, 0.41], variance=[0.05] * 3, name="n"),
        ),
        "pixels",
        ("scale", "n"),
    ),
    "another_s_layer": ((lambda: Own(name="own"),), "pixels", ("own",)),
    "lambda": ((lambda: layers.Lambda(lambda x: x / 255.0, name="own"),), "pixels", ("own",)),
    "behind_padding": (
        (lambda: layers.ZeroPadding2D(2), lambda: layers.Rescaling(1 / 255, name="s")),
        "pixels",
        ("s",),
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_steps_that_scale_are_found(case):
    front, expects, names = FOUND[case]
    found = find_preprocessing(network(*(make() for make in front)))
    assert found.expects == expects
    assert [name.rstrip("_0123456789") for name in found.layers] == list(names)


NOTHING = {
    "nothing": (),
    "padding": (lambda: layers.ZeroPadding2D(2),),
    "resizing": (lambda: layers.Resizing(16, 16),),
    "augmentation": (lambda: layers.RandomRotation(0.1), lambda: layers.RandomContrast(0.2)),
    "batch_normalization": (layers.BatchNormalization,),  # part of what was trained
    "each_image_by_its_own_mean": (lambda: lambda x: x - ops.mean(x, (1, 2, 3), keepdims=True),),
}


@pytest.mark.parametrize("case", NOTHING)
def test_steps_that_do_not_scale_say_nothing(case):
    assert find_preprocessing(network(*(make() for make in NOTHING[case]))) is None


def test_integer_images_that_are_rescaled_are_pixels():
    assert find_preprocessing(network(layers.Rescaling(1 / 255), dtype="uint8")).expects == "pixels"


def test_augmentation_read_from_a_file_is_not_active(tmp_path):
    """Keras writes into the file that it was called in training."""
    bright = layers.RandomBrightness(1.0, value_range=(0.0, 255.0))
    network(bright, layers.Rescaling(1 / 255, name="scale")).save(tmp_path / "net.keras")
    found = find_preprocessing(keras.saving.load_model(tmp_path / "net.keras"))
    assert (found.expects, found.layers) == ("pixels", ("scale",))


def test_open_sizes_are_filled():
    assert find_preprocessing(network(layers.Rescaling(1 / 255), shape=(None, None, 3))).expects == "pixels"


def test_model_without_a_graph_says_nothing():
    class Subclass(keras.Model):
        def call(self, x):
            return x / 255.0

    model = Subclass()
    model.build((None, 8, 8, 3))
    assert find_preprocessing(model) is None


@pytest.mark.slow
def test_rescaling_of_mobilenet_v3_is_found():
    model = keras.applications.MobileNetV3Small(weights=None, input_shape=(32, 32, 3), classes=10)
    assert find_preprocessing(model).expects == "pixels"
