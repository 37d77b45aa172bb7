"""Constants in a graph count among what an operation reads, in each place and as any kind of number."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras.folding import fold
from dirac_keras.layers import VariableSkip
from tests.folding.helpers import assert_stays, normalizations, randomize, relative_difference

CHANNELS = np.array([1.0, -2.0, 0.5, 3.0], "float32")
IMAGES = (6, 6, 4)


def build(make, shape=IMAGES, batch=None):
    x = keras.Input(batch_shape=(batch, *shape))
    return randomize(keras.Model(x, make(x)))


def norm(x):
    return layers.BatchNormalization()(x)


def dense(x):
    return layers.Dense(4)(x)


def assert_folds(model):
    folded, report = fold(model, verify=False)
    assert normalizations(folded) == [], str(report)
    assert relative_difference(model, folded) < 2e-5, str(report)
    return folded


KINDS = {
    "float": lambda: 2.5,
    "integer": lambda: 2,
    "array": lambda: CHANNELS,
    "scalar_array": lambda: np.float32(-1.5),
    "tensor": lambda: ops.convert_to_tensor(CHANNELS),
    "variable": lambda: keras.Variable(CHANNELS, trainable=False),
    "array_of_one_image": lambda: CHANNELS.reshape(1, 1, 1, 4),
    "the_same_number_everywhere": lambda: np.full((6, 6, 4), 3.0, "float32"),
}
OPERATORS = {
    "x + c": lambda x, c: x + c,
    "c + x": lambda x, c: ops.add(c, x),
    "x - c": lambda x, c: x - c,
    "c - x": lambda x, c: ops.subtract(c, x),
    "x * c": lambda x, c: x * c,
    "c * x": lambda x, c: ops.multiply(c, x),
    "x / c": lambda x, c: x / c,
    "divide": lambda x, c: ops.divide(x, c),
    "by name": lambda x, c: ops.multiply(x1=x, x2=c),
    "c first, by name": lambda x, c: ops.subtract(x2=x, x1=c),
}


@pytest.mark.parametrize(
    ("operator", "kind"),
    [(operator, "array") for operator in OPERATORS]
    + [(operator, kind) for operator in ("c - x", "x * c") for kind in KINDS],
)
def test_normalization_gets_through_an_operator_with_a_constant(operator, kind):
    """Before it and behind it."""
    constant = KINDS[kind]()
    assert_folds(build(lambda x: ops.relu(norm(OPERATORS[operator](dense(x), constant)))))
    assert_folds(build(lambda x: dense(OPERATORS[operator](norm(x), constant))))


IMAGE = CHANNELS.reshape(1, 1, 1, 4)
MERGED = {
    "add": lambda x: layers.Add()([dense(x), np.ones((1, 6, 6, 4), "float32"), dense(x)]),
    "add_one_image": lambda x: layers.Add()([dense(x), IMAGE]),
    "add_channels": lambda x: layers.Add()([dense(x), CHANNELS.reshape(1, 4)]),
    "subtract": lambda x: layers.Subtract()([dense(x), np.broadcast_to(IMAGE, (1, 6, 6, 4))]),
    "average": lambda x: layers.Average()([dense(x), IMAGE, dense(x)]),
    "multiply": lambda x: layers.Multiply()([dense(x), IMAGE]),
    "multiply_twice": lambda x: layers.Multiply()([dense(x), np.full((1, 1, 1, 1), 2.0, "float32"), IMAGE]),
    "by name": lambda x: layers.Add()(inputs=[dense(x), IMAGE]),
}


@pytest.mark.parametrize("case", MERGED)
def test_constant_in_a_merging_layer_counts(case):
    assert_folds(build(lambda x: norm(MERGED[case](x)), batch=1))


CONCATENATED = {
    "first": lambda x: ops.concatenate([np.ones((2, 3), "float32"), x], axis=-1),
    "last": lambda x: layers.Concatenate()([x, np.ones((2, 3), "float32")]),
    "between": lambda x: layers.Concatenate(axis=1)([x, np.ones((2, 3), "float32"), x]),
    "by name": lambda x: ops.concatenate(xs=[np.ones((2, 3), "float32"), x], axis=1),
    "stacked": lambda x: layers.Flatten()(ops.stack([np.ones((2, 4), "float32"), x], axis=1)),
}


@pytest.mark.parametrize("case", CONCATENATED)
def test_constant_in_a_concatenation_keeps_its_place(case):
    """Behind the normalization it is one, before it a scaled one would be needed."""
    assert_folds(build(lambda x: layers.Dense(3)(CONCATENATED[case](norm(layers.ReLU()(x)))), (4,), batch=2))
    model = build(lambda x: norm(CONCATENATED[case](dense(x))), (4,), batch=2)
    assert_stays(model, "joins a constant", verify=False)


def test_constant_that_differs_by_position_stays_unscaled():
    positions = np.random.default_rng(0).normal(size=(6, 6, 4)).astype("float32")
    assert_stays(build(lambda x: norm(dense(x) + positions)), "another axis", verify=False)
    assert_folds(build(lambda x: layers.Dense(2)(layers.Flatten()(norm(x) + positions))))


def test_large_constant_that_would_swallow_the_shift_is_not_passed():
    """0.01 (x + 1e6) is 1e4 large; 0.01 x - 990,000 would be added to 1e6 in its place."""
    places = np.full((6, 6, 1), 1e6, "float32")
    places[0] *= 2.0  # which no bias takes in
    model = build(lambda x: norm(dense(x) + places))
    model.layers[-1].set_weights([np.full(4, value) for value in (0.01, 0.0, 1e6, 1.0)])
    folded, report = fold(model, verify=False)
    assert len(normalizations(folded)) == 1
    assert "lose its digits" in report.kept[0].reason


def test_constants_between_layers_go_into_kernels_by_hand():
    """2 (3 x + 1) - 4 is 6 x - 2; behind ReLU, 0.5 r before a kernel of 8 is a kernel of 4."""
    x = keras.Input((1,))
    first, second = layers.Dense(1), layers.Dense(1)
    model = keras.Model(x, second(ops.relu(2.0 * first(x) - 4.0) * 0.5))
    first.set_weights([np.array([[3.0]]), np.array([1.0])])
    second.set_weights([np.array([[8.0]]), np.array([1.0])])
    folded, _ = fold(model)
    kinds = [type(operation).__name__ for operation in folded.operations]
    assert kinds == ["InputLayer", "Dense", "Relu", "Dense"]
    assert [weights.item() for layer in folded.layers for weights in layer.get_weights()] == [6.0, -2.0, 4.0, 1.0]


def test_what_scales_the_images_of_a_network_stays():
    """Who looks for what the network expects of its images finds it there."""
    model = build(lambda x: layers.Conv2D(3, 1)(layers.Rescaling(1 / 255)(x) - 0.5))
    folded, _ = fold(model)
    assert [type(operation).__name__ for operation in folded.operations[1:3]] == ["Rescaling", "Subtract"]


def test_rescaling_that_is_called_twice_is_passed():
    """Its numbers belong to both calls, so it cannot take them; its offset is one for each channel."""
    shared = layers.Rescaling([1.0, 2.0, -1.0, 0.5], offset=[1.0, 2.0, 3.0, 4.0])
    folded = assert_folds(build(lambda x: [ops.relu(norm(shared(dense(x)))), ops.relu(shared(x))]))
    assert_folds(build(lambda x: [dense(shared(norm(x))), ops.relu(shared(x))]))
    assert any(isinstance(layer, layers.Rescaling) for layer in folded.layers)


@pytest.mark.slow
def test_factor_of_zero_lets_no_shift_through():
    places = np.ones((6, 6, 1), "float32")
    places[0] = 0.0
    assert_stays(build(lambda x: norm(dense(x) * places)), "multiplies by zero", verify=False)
    assert_folds(build(lambda x: dense(norm(x) * np.array([1.0, 0.0, 1.0, 1.0], "float32"))))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_constant_that_is_not_finite_stops_the_way(value):
    model = build(lambda x: norm(dense(x) + np.array([1.0, value, 1.0, 1.0], "float32")))
    _, report = fold(model, verify=False)
    assert "has a constant that is not finite" in report.kept[0].reason


@pytest.mark.parametrize("place", [1, 2])
def test_sealed_skip_leaves_a_constant_in_its_addition(place):
    def make(x):
        summands = [dense(x), VariableSkip(alpha_initializer="ones")(x)]
        summands.insert(place, np.broadcast_to(CHANNELS, (2, 4)))
        return layers.ReLU()(layers.Add()(summands))

    model = build(make, (4,), batch=2)
    for layer in model.layers:
        if isinstance(layer, VariableSkip):
            layer.set_weights([np.ones_like(value) for value in layer.get_weights()])
    folded, report = fold(model, verify=False)
    assert relative_difference(model, folded) < 1e-5
    assert not any(isinstance(layer, VariableSkip) for layer in folded.layers)
    assert any("sealed" in entry.action for entry in report.folded)


def test_sealed_skip_added_to_a_constant_alone_stays():
    """Without it, nothing would be left that depends on the input."""
    model = build(lambda x: layers.ReLU()(VariableSkip(alpha_initializer="ones")(x) + CHANNELS), (4,))
    model.layers[1].set_weights([np.ones_like(value) for value in model.layers[1].get_weights()])
    folded, _ = fold(model, verify=False)
    images = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(folded(images), model(images))


def test_summand_on_the_axis_that_tensorflow_takes_for_the_channels():
    """`ops.add` of TensorFlow adds a vector along the last axis if the length fits, whatever its shape says."""
    column = np.arange(4.0, dtype="float32").reshape(4, 1, 1)
    model = build(lambda x: layers.BatchNormalization(axis=1)(x + column), (4, 3, 4))
    folded, _ = fold(model, verify=False)
    assert relative_difference(model, folded) < 1e-5


@pytest.mark.parametrize("width", [4, 5])
def test_bias_on_the_axis_that_tensorflow_takes_for_the_channels(width):
    """A bias along axis 1 of a square of channels and width: added along the width, so none may be made."""
    make = lambda x: layers.EinsumDense("abc,bd->adc", (4, width), bias_axes=None)(x)  # noqa: E731
    model = build(lambda x: layers.BatchNormalization(axis=1)(make(x)), (3, width))
    folded, _ = fold(model, verify=False)
    assert relative_difference(model, folded) < 1e-5
    is_wrong = keras.backend.backend() == "tensorflow" and width == 4
    assert len(normalizations(folded)) == (1 if is_wrong else 0)


def scaled(x):
    return layers.Normalization(mean=[0.1, -0.2, 0.3, 0.0], variance=[1.4, 0.5, 2.0, 0.8])(x)


@pytest.mark.parametrize("behind", ["a normalization behind a concatenation", "a sum of branches"])
def test_a_scale_moves_with_what_it_has_absorbed(behind):
    """A BatchNormalization merges into it first. Its own numbers alone would leave that out, by 5 % of the outputs."""

    def make(x):
        product = layers.Multiply()([dense(x), ops.tanh(x)])  # through which no shift gets
        if behind == "a sum of branches":
            return layers.Add()([dense(norm(scaled(norm(product)))), dense(product)])
        return norm(layers.Concatenate()([scaled(norm(product)), x]))

    model = build(make, (4,))
    folded, report = fold(model, verify=False)
    assert len(normalizations(folded)) < len(normalizations(model)), str(report)
    assert relative_difference(model, folded) < 1e-5, str(report)


def test_what_only_converts_integers_stays_in_a_second_fold():
    """The first puts it where integers become floats; without it the second would feed integers."""
    x = keras.Input((4,), dtype="int32")
    model = randomize(keras.Model(x, dense(norm(VariableSkip()(layers.CategoryEncoding(5)(x))))))
    once, _ = fold(model, verify=False)
    assert any(isinstance(layer, layers.Rescaling) for layer in once.layers)
    _, report = fold(once, verify=False)
    assert not report.folded, str(report)
