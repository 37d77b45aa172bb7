"""Inputs as they are served, and weights that are no numbers."""

import keras
import pytest
from keras import layers

from dirac_keras.graph.finite import describe_nonfinite, nonfinite_weights
from dirac_keras.graph.inputs import fixed_batch, input_specs


def batched(*parts):
    return keras.Sequential([keras.Input(batch_shape=(8, 4)), *parts])


FIXED = {
    "a_size_alone": (lambda: layers.Dense(2), None),
    "shape_with_the_batch_in_it": (lambda: layers.Lambda(lambda x: keras.ops.reshape(x, (8, 2, 2))), 8),
    "constant_with_a_row_a_sample": (lambda: layers.Lambda(lambda x: x + keras.ops.ones((8, 4))), 8),
    "state_a_sample": (
        lambda: keras.Sequential([layers.Reshape((4, 1)), layers.LSTM(2, stateful=True)]),
        8,
    ),
}


@pytest.mark.parametrize("case", FIXED)
def test_batch_is_open_unless_it_cannot_be(case):
    make, batch = FIXED[case]
    model = batched(make())
    assert (fixed_batch(model), input_specs(model).shape) == (batch, (batch, 4))


# Weights that are no numbers -------------------------------------------------------------------------------
def normalized():
    inputs = keras.Input((8,))
    x = layers.Dense(4, name="dense")(inputs)
    inner = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(name="bn")], name="inner")
    return keras.Model(inputs, inner(x))


def test_numbers_are_no_finding():
    assert nonfinite_weights(normalized()) == []


@pytest.mark.parametrize(
    ("weight", "value", "words"),
    [
        ("kernel", float("nan"), "dense/kernel (1 of 32)"),
        ("bias", float("inf"), "dense/bias (1 of 4)"),
        ("moving_mean", float("nan"), "bn/moving_mean (1 of 4)"),
        ("moving_variance", -1.0, "bn/moving_variance (1 of 4)"),  # its root is NaN
    ],
)
def test_value_that_is_no_number_is_named_with_its_layer(weight, value, words):
    model = normalized()
    variable = next(v for v in model.weights if v.name == weight)
    values = keras.ops.convert_to_numpy(variable).copy()
    values.flat[0] = value
    variable.assign(values)
    found = nonfinite_weights(model)
    assert describe_nonfinite(found) == words


def test_weights_of_a_layer_of_another_s_are_seen():
    class Own(layers.Layer):
        def build(self, shape):
            self.inner = layers.Dense(2)
            self.inner.build(shape)

        def call(self, x):
            return self.inner(x)

    model = keras.Sequential([keras.Input((3,)), Own(name="own")])
    model.layers[0].inner.kernel.assign(float("nan") * keras.ops.ones((3, 2)))
    assert describe_nonfinite(nonfinite_weights(model)) == "own/kernel (6 of 6)"


def test_many_findings_are_cut_short():
    model = normalized()
    for variable in model.weights:
        variable.assign(float("nan") * keras.ops.ones(variable.shape))
    assert (
        describe_nonfinite(nonfinite_weights(model), most=2)
        == "dense/kernel (32 of 32), dense/bias (4 of 4) and 4 more"
    )
