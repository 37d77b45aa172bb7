"""What a classifier's outputs are, wherever its softmax stands."""

import keras
import pytest
from keras import layers, ops

from dirac_keras.graph.softmax import ends_in_softmax, kind_of_outputs


def classifier(*ends, units=10):
    x = inputs = keras.Input((6,))
    x = layers.Dense(units)(x)
    for end in ends:
        x = end(x)
    return keras.Model(inputs, x)


class Doubled(layers.Layer):
    def call(self, x):
        return 2.0 * x


class Own(layers.Layer):
    """Has an activation, and something behind it."""

    activation = staticmethod(keras.activations.softmax)

    def call(self, x):
        return 3.0 * self.activation(x)


KINDS = {
    "none": ((), "logits"),
    "layer": ((layers.Softmax,), "softmax"),
    "argument": ((lambda: layers.Dense(5, activation="softmax"),), "softmax"),
    "activation": ((lambda: layers.Activation("softmax"),), "softmax"),
    "operation": ((lambda: ops.softmax,), "softmax"),
    "function": ((lambda: keras.activations.softmax,), "softmax"),
    "temperature": ((lambda: lambda x: ops.softmax(x / 2.0),), "softmax"),
    "cast_behind": ((lambda: ops.softmax, lambda: layers.Activation("linear", dtype="float32")), "softmax"),
    "cast_operation_behind": ((layers.Softmax, lambda: lambda x: ops.cast(x, "float16")), "softmax"),
    "dropout_behind": ((layers.Softmax, lambda: layers.Dropout(0.5), layers.Identity), "softmax"),
    "reshaped_behind": (
        (layers.Softmax, lambda: layers.Reshape((10, 1)), lambda: lambda x: ops.squeeze(x, -1)),
        "softmax",
    ),
    "in_a_nested_model": (
        (lambda: keras.Sequential([keras.Input((10,)), layers.Dense(5), layers.Softmax(), layers.Identity()]),),
        "softmax",
    ),
    "average_of_softmaxes": (
        (lambda: lambda x: layers.Average()([layers.Softmax()(x), ops.softmax(layers.Dense(10)(x))]),),
        "softmax",
    ),
    "log_softmax": ((lambda: ops.log_softmax,), "log_softmax"),
    "log_softmax_as_argument": ((lambda: layers.Dense(5, activation="log_softmax"),), "log_softmax"),
    "sigmoid": ((lambda: ops.sigmoid,), "sigmoid"),
    "sigmoid_as_argument": ((lambda: layers.Dense(5, activation="sigmoid"),), "sigmoid"),
    "scaled_behind": ((layers.Softmax, Doubled), None),
    "over_the_batch": ((lambda: lambda x: ops.softmax(x, axis=0),), None),
    "over_another_axis": ((lambda: layers.Reshape((10, 1)), layers.Softmax, layers.Flatten), None),
    "by_hand": ((lambda: lambda x: ops.exp(x) / ops.sum(ops.exp(x), -1, keepdims=True),), None),
    "another_s_activation": ((Own,), None),
    # What a call says of training counts only where the model's own call says nothing; `predict` says False.
    "dropout_called_in_training": (
        (layers.Softmax, lambda: lambda x: layers.Dropout(0.5)(x, training=True)),
        "softmax",
    ),
}


@pytest.mark.parametrize("case", KINDS)
def test_kind_of_outputs_is_read_off_the_graph(case):
    ends, expected = KINDS[case]
    model = classifier(*(make() for make in ends))
    assert kind_of_outputs(model) == expected
    assert ends_in_softmax(model) == (expected == "softmax")


def test_average_pooling_of_a_map_of_softmaxes_keeps_probabilities():
    inputs = keras.Input((8, 8, 3))
    maps = layers.Conv2D(10, 1, activation="softmax")(inputs)
    assert kind_of_outputs(keras.Model(inputs, layers.GlobalAveragePooling2D()(maps))) == "softmax"


def test_unknown_code_says_nothing():
    class Subclass(keras.Model):
        def call(self, x):
            return ops.softmax(x)

    model = Subclass()
    model.build((None, 6))
    assert kind_of_outputs(model) is None
    inputs = keras.Input((6,))
    assert kind_of_outputs(keras.Model(inputs, layers.Lambda(ops.softmax)(inputs))) is None


def test_several_outputs_say_nothing():
    inputs = keras.Input((6,))
    dense = layers.Dense(3, activation="softmax")
    assert kind_of_outputs(keras.Model(inputs, [dense(inputs), dense(inputs)])) is None
