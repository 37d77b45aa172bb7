"""`fold` merges linear branches that meet in an addition into one convolution, with the same outputs."""

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras.folding import assert_plain, fold
from tests.folding.helpers import TOLERANCE, randomize, relative_difference


def conv(x, filters, kernel_size, strides=1, padding="same", kind=layers.Conv2D, **arguments):
    """A convolution without bias and its BatchNormalization."""
    first = () if kind is layers.DepthwiseConv2D else (filters,)
    layer = kind(*first, kernel_size, strides=strides, padding=padding, use_bias=False, **arguments)
    return layers.BatchNormalization()(layer(x))


def depthwise(x, kernel_size):
    return conv(x, None, kernel_size, kind=layers.DepthwiseConv2D)


def padded(x):
    return layers.ZeroPadding2D(1)(x)


def mobileone(x, strides):
    """As kimm writes it: additions of two, the padding of a strided one shared."""
    y = conv(x, 4, 1, strides, "valid")
    y = y if strides > 1 else layers.Add()([layers.BatchNormalization()(x), y])
    around = padded(x) if strides > 1 else x
    for _ in range(2):
        y = layers.Add()([y, conv(around, 4, 3, strides, "valid" if strides > 1 else "same")])
    return y


MERGED = {
    "repvgg": lambda x: layers.Add()([conv(x, 4, 3), conv(x, 4, 1), layers.BatchNormalization()(x)]),
    "repvgg_strided": lambda x: layers.Add()([conv(x, 6, 3, 2), conv(x, 6, 1, 2)]),
    "mobileone": lambda x: mobileone(x, 1),
    "mobileone_strided": lambda x: mobileone(x, 2),
    "mobileone_depthwise": lambda x: layers.Add()([depthwise(x, 3), depthwise(x, 1), layers.BatchNormalization()(x)]),
    "acnet": lambda x: layers.Add()([conv(x, 5, 3), conv(x, 5, (1, 3)), conv(x, 5, (3, 1))]),
    "no_window_holds_the_others": lambda x: layers.Add()([conv(x, 5, (1, 3)), conv(x, 5, (5, 1))]),
    "diverse_branch_without_bias": lambda x: layers.Add()(
        [conv(x, 4, 3), conv(layers.Conv2D(7, 1, use_bias=False)(x), 4, 3)]
    ),
    "diverse_branch_padded_first": lambda x: layers.Add()(
        [conv(x, 4, 3), conv(conv(padded(x), 7, 1), 4, 3, padding="valid")]
    ),
    "3x3_then_1x1": lambda x: layers.Add()([conv(conv(x, 7, 3), 4, 1), x]),
    "average_of_padded": lambda x: layers.Add()(
        [conv(x, 4, 3), layers.BatchNormalization()(layers.AveragePooling2D(3, 1, "valid")(padded(x)))]
    ),
    "average_strided": lambda x: layers.Add()([conv(x, 4, 2, 2), conv(layers.AveragePooling2D(2)(x), 4, 1)]),
    "dilated": lambda x: layers.Add()([conv(x, 4, 3, dilation_rate=2), conv(x, 4, 1), x]),
    "groups": lambda x: layers.Add()([conv(x, 4, 3, groups=2), conv(x, 4, 1, groups=2), x]),
    "operators": lambda x: x + layers.Conv2D(4, 3, padding="same")(x) + layers.Conv2D(4, 1)(x),
    "dense": lambda x: layers.Add()([layers.Dense(4)(x), layers.Dense(4, use_bias=False)(x), x]),
}


def network(block, shape=(8, 8, 3)):
    inputs = keras.Input(shape)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    return randomize(keras.Model(inputs, layers.ReLU()(block(x))))


@pytest.mark.parametrize("block", MERGED)
def test_branches_merge_into_one_layer(block):
    model = network(MERGED[block])
    folded, report = fold(model, verify=False)
    assert_plain(folded)
    assert sum(hasattr(layer, "kernel") for layer in folded.layers) == 2, "the stem and one"
    assert report.kept == ()
    assert relative_difference(model, folded) < TOLERANCE


LEFT = {
    "fewer_pixels_at_borders": (
        lambda x: layers.Add()([conv(x, 4, 3), layers.AveragePooling2D(3, 1, "same")(x)]),
        "averages over fewer pixels at the borders",
    ),
    "zeros_beyond_a_bias": (
        lambda x: layers.Add()([conv(x, 4, 3), conv(conv(x, 7, 1), 4, 3)]),
        "pads with zeros what has a bias",
    ),
    "zeros_beyond_a_window": (
        lambda x: layers.Add()(
            [conv(x, 4, 3), layers.Conv2D(4, 3, padding="same")(layers.Conv2D(7, 3, padding="same", use_bias=False)(x))]
        ),
        "pads with zeros what would not be zero",
    ),
    "other_strides": (
        lambda x: layers.Add()([conv(x, 4, 7, 2, "valid"), conv(x, 4, 7, 1, "valid")]),
        "their strides differ",
    ),
    "other_groups": (
        lambda x: layers.Add()([conv(x, 4, 3, groups=2), conv(x, 4, 3)]),
        "they have 1 and 2 groups",
    ),
    "far_more_work": (
        lambda x: layers.Add()([conv(x, 4, (1, 15)), conv(x, 4, (15, 1))]),
        "one convolution would take 7.5 times",
    ),
}


@pytest.mark.parametrize("block", LEFT)
def test_what_would_not_be_exact_stays_and_is_named(block):
    make, reason = LEFT[block]
    shape = (7, 7, 3) if block == "other_strides" else (8, 8, 3)
    model = network(make, shape)
    folded, report = fold(model, verify=False)
    assert any(reason in entry.reason for entry in report.kept), str(report)
    assert any("add" in layer.name for layer in folded.layers)
    assert relative_difference(model, folded) < TOLERANCE


def shrinking(x):
    """14 x 16 of 16 x 16 in both branches; the window of neither holds the other's."""
    narrow = layers.Conv2D(4, (1, 3), padding="same")(x)
    return layers.Add()([layers.Conv2D(4, (3, 1))(x), layers.AveragePooling2D((3, 1), 1)(narrow)])


@pytest.mark.parametrize("side", [16, None])
def test_a_larger_window_is_not_written_where_the_sides_change(side):
    model = network(shrinking, (side, side, 3))
    folded, report = fold(model, verify=False)
    assert any("would keep the sides that they change" in entry.reason for entry in report.kept), str(report)
    assert folded.output_shape == model.output_shape
    assert relative_difference(model, folded) < TOLERANCE


def test_a_larger_window_is_written_at_open_sides():
    model = network(MERGED["no_window_holds_the_others"], (None, None, 3))
    folded, report = fold(model, verify=False)
    assert report.kept == ()
    assert relative_difference(model, folded) < TOLERANCE


def test_a_strided_1x1_beside_an_open_size_stays():
    model = network(MERGED["repvgg_strided"], (None, None, 3))
    folded, report = fold(model, verify=False)
    assert any("pads by the size of the image, which is open" in entry.reason for entry in report.kept)
    assert relative_difference(model, folded) < TOLERANCE


def test_the_merged_kernel_is_the_sum_of_the_padded_ones():
    inputs = keras.Input((4, 4, 1))
    wide = layers.Conv2D(1, 3, padding="same", kernel_initializer="ones", bias_initializer="ones", name="wide")
    small = layers.Conv2D(1, 1, use_bias=False, kernel_initializer=keras.initializers.Constant(2.0))
    folded, _ = fold(keras.Model(inputs, layers.Add()([wide(inputs), small(inputs), inputs])))
    kernel, bias = folded.get_layer("wide").get_weights()
    np.testing.assert_array_equal(kernel[..., 0, 0], [[1, 1, 1], [1, 1 + 2 + 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(bias, [1.0])


@pytest.mark.parametrize(("side", "tap"), [(4, 0), (5, 1)])
def test_a_strided_1x1_has_its_place_where_same_padding_puts_it(side, tap):
    """Of 4 pixels "same" pads one behind, so the 3x3 starts at the pixel of the 1x1; of 5 one on each side."""
    inputs = keras.Input((side, side, 1))
    wide = layers.Conv2D(1, 3, strides=2, padding="same", kernel_initializer="zeros", use_bias=False, name="wide")
    small = layers.Conv2D(1, 1, strides=2, padding="same", kernel_initializer="ones", use_bias=False)
    folded, _ = fold(keras.Model(inputs, layers.Add()([wide(inputs), small(inputs)])))
    (kernel,) = folded.get_layer("wide").get_weights()
    assert np.argwhere(kernel[..., 0, 0]).tolist() == [[tap, tap]]


def test_the_report_names_every_branch():
    _, report = fold(network(MERGED["acnet"]), verify=False)
    actions = [entry.action for entry in report.folded]
    assert any("its branches (3x3, 1x3, 3x1) merged into" in action for action in actions)
    assert sum("merged with its branch into" in action for action in actions) == 2
    assert report.macs_after < report.macs_before


def test_a_shared_convolution_takes_nothing_in():
    def block(x):
        shared = layers.Conv2D(4, 3, padding="same")
        return layers.Add()([shared(layers.ReLU()(shared(x))), layers.Conv2D(4, 1)(x), x])

    model = network(block)
    folded, _ = fold(model, verify=False)
    assert relative_difference(model, folded) < TOLERANCE
    assert sum(hasattr(layer, "kernel") for layer in folded.layers) == 3, "the 1x1 has taken the identity in"


def test_branches_that_are_read_elsewhere_stay_right():
    inputs = keras.Input((6, 6, 3))
    wide, small = layers.Conv2D(4, 3, padding="same")(inputs), layers.Conv2D(4, 1)(inputs)
    model = randomize(keras.Model(inputs, [layers.Add()([wide, small]), wide]))
    folded, _ = fold(model, verify=False)
    assert relative_difference(model, folded) < TOLERANCE


class Built(layers.Layer):
    """As kimm's: a model inside was built for the padded image and is called on the image."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.pad = layers.ZeroPadding2D(1)
        self.small = keras.Sequential([layers.Conv2D(4, 1, strides=2, use_bias=False), layers.BatchNormalization()])
        self.wide = keras.Sequential([layers.Conv2D(4, 3, strides=2, use_bias=False), layers.BatchNormalization()])

    def build(self, shape):
        around = self.pad.compute_output_shape(shape)
        self.small.build(around)
        self.wide.build(around)
        self.built = True

    def call(self, inputs):
        return layers.Add()([self.small(inputs), self.wide(self.pad(inputs))])


def test_a_layer_whose_models_were_built_for_other_sizes_is_opened():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, Built()(inputs))
    for inner in (model.layers[1].small, model.layers[1].wide):
        randomize(inner)
    folded, report = fold(model, verify=False)
    assert_plain(folded)
    assert report.normalizations_after == 0
    assert relative_difference(model, folded) < TOLERANCE
