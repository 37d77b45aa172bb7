"""Receptive fields and strides where branches of another kind meet: gates, shuffled channels, inputs without places."""

import keras
import pytest
from keras import layers, ops

from dirac_keras import features
from dirac_keras.graph.receptive_fields import receptive_fields, strides_of


def stem(x):
    return layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(x)


def gate_of_layers(x):
    return layers.Conv2D(8, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))


def gate_of_operations(x):
    return ops.sigmoid(layers.Dense(8)(ops.mean(x, axis=(1, 2), keepdims=True)))


@pytest.mark.parametrize("gate", [gate_of_layers, gate_of_operations])
def test_behind_a_gate_every_place_sees_all_and_is_where_it_was(gate):
    inputs = keras.Input((16, 16, 3))
    x = stem(inputs)
    x = layers.Multiply(name="gated")([x, gate(x)])
    model = keras.Model(inputs, layers.Conv2D(4, 3, strides=2, padding="same", name="last")(x))
    fields, strides = receptive_fields(model), strides_of(model)
    assert (fields["stem"], fields["gated"], fields["last"]) == ((3, 3), "all", "all")
    assert (strides["stem"], strides["gated"], strides["last"]) == ((2, 2), (2, 2), (4, 4))
    assert [level.layer for level in features(model)[1]] == ["gated", "last"]


def test_channels_that_are_split_and_shuffled_stay_in_their_places():
    """As ShuffleNet does: two groups of four channels, each channel of one beside one of the other."""
    inputs = keras.Input((16, 16, 3))
    one, other = ops.split(stem(inputs), 2, axis=-1)
    x = layers.Concatenate()([one, layers.Conv2D(4, 3, padding="same")(other)])
    x = layers.Permute((1, 2, 4, 3))(layers.Reshape((8, 8, 2, 4))(x))
    x = layers.Conv2D(4, 1, name="last")(layers.Reshape((8, 8, 8))(x))
    model = keras.Model(inputs, x)
    assert (receptive_fields(model)["last"], strides_of(model)["last"]) == ((7, 7), (2, 2))


def test_a_mean_over_channels_leaves_the_places():
    inputs = keras.Input((16, 16, 3))
    x = stem(inputs)
    model = keras.Model(inputs, layers.Multiply(name="gated")([x, ops.mean(x, axis=-1, keepdims=True)]))
    assert receptive_fields(model)["gated"] == (3, 3)


class Blur(layers.Layer):
    def call(self, x):
        return x


def test_what_is_not_known_is_not_known_behind_a_junction_either():
    inputs = keras.Input((16, 16, 3))
    x = stem(inputs)
    model = keras.Model(inputs, layers.Add(name="sum")([x, Blur()(x)]))
    assert receptive_fields(model)["sum"] is None


def test_an_input_without_places_says_nothing_beside_one_with_them():
    image, numbers = keras.Input((16, 16, 3)), keras.Input((4,))
    scale = layers.Reshape((1, 1, 8))(layers.Dense(8, name="dense")(numbers))
    model = keras.Model([image, numbers], layers.Multiply(name="scaled")([stem(image), scale]))
    fields = receptive_fields(model)
    assert (fields["dense"], fields["scaled"]) == (None, (3, 3))


def test_group_normalization_sees_all_where_it_is():
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, layers.GroupNormalization(2, name="norm")(stem(inputs)))
    assert (receptive_fields(model)["norm"], strides_of(model)["norm"]) == ("all", (2, 2))
