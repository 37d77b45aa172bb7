"""Differences, averages and tensors that are added several times: `fold` and `plainify` take them for sums."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras import assert_plain, fold, plainify
from dirac_keras.folding.branches.tree import factors_of
from dirac_keras.graph.trace import trace
from tests.folding.helpers import TOLERANCE, all_layers, randomize, relative_difference

CHANNELS = 4


def conv(x, size=3):
    return layers.Conv2D(CHANNELS, size, padding="same")(x)


def norm(x):
    return layers.BatchNormalization()(x)


def difference(x, y):
    return layers.Subtract()([x, y])


def average(*tensors):
    return layers.Average()(list(tensors))


def stacked(axis, *tensors):
    return ops.stack(list(tensors), axis=axis)


def in_a_model(x):
    own = keras.Input(x.shape[1:])
    return keras.Model(own, ops.mean(stacked(1, conv(own), own), axis=1), name="inside")(x)


def inner(x):
    """A branch that is not linear."""
    return conv(layers.ReLU()(conv(x)))


def network(block):
    inputs = keras.Input((7, 6, 3))
    x = block(layers.ReLU()(conv(inputs)))
    return randomize(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.ReLU()(x)))))


def kinds(model):
    return [type(operation).__name__ for operation in model.operations]


MERGED = {
    "difference": lambda x: difference(x, norm(conv(x))),
    "operator": lambda x: norm(conv(x)) - x,
    "function": lambda x: ops.subtract(conv(x, 1), conv(x)),
    "average": lambda x: average(x, conv(x)),
    "average_of_three": lambda x: average(x, conv(x), norm(conv(x, 1))),
    "one_tensor_twice": lambda x: layers.Add()([conv(x), x, x]),
    "one_tensor_twice_by_operators": lambda x: x + conv(x) + x,
    "double_on_the_way": lambda x: conv(x) + layers.Add()([x, x]),
    "nothing_of_a_tensor": lambda x: layers.Add()([conv(x), x - x]),
    "difference_of_differences": lambda x: difference(conv(x), difference(conv(x, 1), x)),
    "average_in_an_average": lambda x: average(average(x, conv(x)), difference(conv(x, 1), x), x),
    "mean_of_a_stack": lambda x: ops.mean(stacked(0, conv(x), x), axis=0),
    "sum_of_a_stack_along_the_last_axis": lambda x: ops.sum(stacked(-1, conv(x), x, norm(conv(x, 1))), axis=[4]),
    "average_of_a_stack": lambda x: ops.average(stacked(2, conv(x), x), axis=-3),
    "stack_in_a_model": in_a_model,
    "separable": lambda x: layers.Add()([conv(x), layers.SeparableConv2D(CHANNELS, 3, padding="same")(x)]),
    "separable_of_two": lambda x: difference(
        conv(x), layers.SeparableConv2D(CHANNELS, 3, padding="same", depth_multiplier=2)(x)
    ),
    "einsum": lambda x: x + layers.EinsumDense("bhwa,ac->bhwc", output_shape=(7, 6, CHANNELS), bias_axes="c")(x),
    "einsum_without_bias": lambda x: conv(x, 1) - layers.EinsumDense("xyza,ac->xyzc", output_shape=(7, 6, CHANNELS))(x),
    "cropped": lambda x: layers.Add()([layers.Cropping2D(1)(x), layers.Conv2D(CHANNELS, 3)(x)]),
    "cropped_unevenly": lambda x: layers.Add()([layers.Cropping2D(((2, 0), (1, 1)))(x), layers.Conv2D(CHANNELS, 3)(x)]),
}


@pytest.mark.parametrize("block", MERGED)
def test_linear_branches_merge_whatever_way_they_are_added(block):
    model = network(MERGED[block])
    folded, report = fold(model, verify=False)
    assert_plain(folded)
    assert sum(hasattr(layer, "kernel") for layer in all_layers(folded)) == 3, "the stem, one, and the head"
    assert relative_difference(model, folded) < TOLERANCE, str(report)


def test_the_factors_are_in_the_kernel_by_hand():
    """Average of w1 x, w2 x and x, without x: (w1 + w2 + 1) / 3 - 1."""
    inputs = keras.Input((2, 2, 1))
    x = layers.ReLU()(inputs)
    first, second = layers.Conv2D(1, 1, name="first"), layers.Conv2D(1, 1)
    model = keras.Model(inputs, average(first(x), second(x), x) - x)
    first.set_weights([np.full((1, 1, 1, 1), 4.0), np.array([3.0])])
    second.set_weights([np.full((1, 1, 1, 1), 10.0), np.array([6.0])])
    folded, _ = fold(model)
    (layer,) = (layer for layer in folded.layers if layer.weights)
    kernel, bias = layer.get_weights()
    assert (kernel.item(), bias.item()) == (pytest.approx(4.0), pytest.approx(3.0))


@pytest.mark.parametrize(
    ("block", "left"),
    [
        (lambda x: difference(layers.Add()([layers.ReLU()(conv(x)), conv(x)]), x), ["Add"]),
        (lambda x: difference(x, layers.Add()([layers.ReLU()(conv(x)), conv(x)])), ["Multiply", "Add"]),
        (lambda x: average(layers.ReLU()(conv(x)), conv(x), x), ["Multiply", "Add"]),
        (lambda x: average(inner(x), conv(x), x), ["Add"]),  # a third of it is in its convolution
    ],
    ids=["minuend", "subtrahend", "average", "average_of_a_convolution"],
)
def test_what_is_left_of_a_sum_keeps_its_factor(block, left):
    model = network(block)
    folded, _ = fold(model, verify=False)
    assert [kind for kind in kinds(folded) if kind in ("Add", "Subtract", "Average", "Multiply")] == left
    assert relative_difference(model, folded) < TOLERANCE


def test_sums_in_which_nothing_merges_stay_as_they_are():
    model = network(lambda x: average(difference(x, layers.ReLU()(conv(x))), layers.ReLU()(conv(x))))
    folded, report = fold(model, verify=False)
    assert kinds(folded) == kinds(model)
    assert report.folded == ()


@pytest.mark.parametrize(
    "reduced",
    [
        lambda x: ops.mean(stacked(1, x, x * x), axis=2),  # over the rows
        lambda x: ops.mean(stacked(1, x, x * x), axis=1, keepdims=True)[:, 0],
        lambda x: ops.max(stacked(1, x, x * x), axis=1),
        lambda x: ops.mean(stacked(1, x, x * x), axis=(1, 2)),
        lambda x: ops.average(stacked(1, x, x * x), axis=1, weights=np.array([1.0, 3.0], "float32")),
    ],
    ids=["another_axis", "axis_kept", "maximum", "several_axes", "weights"],
)
def test_what_is_no_sum_of_stacked_tensors_stays(reduced):
    inputs = keras.Input((7, 6, 3))
    model = keras.Model(inputs, reduced(inputs))
    folded, report = fold(model, verify=False)
    assert kinds(folded) == kinds(model) and report.folded == ()
    assert relative_difference(model, folded) < TOLERANCE


def test_the_stack_stays_where_something_else_reads_it():
    inputs = keras.Input((7, 6, 3))
    both = stacked(1, layers.ReLU()(inputs), inputs)
    folded, report = fold(keras.Model(inputs, [ops.mean(both, axis=1), ops.max(both, axis=1)]))
    assert {"Stack", "Average", "Max"} <= {*kinds(folded)}
    assert "mean of 2 stacked tensors became Average" in str(report)


def test_a_tensor_added_to_itself_alone_is_multiplied():
    model = network(lambda x: layers.Add(name="double")([x, x]))
    folded, _ = fold(model, verify=False)
    assert_plain(folded)
    assert folded.get_layer("double").scale == 2.0
    assert relative_difference(model, folded) < TOLERANCE


def test_integers_are_not_multiplied_as_floats():
    inputs = keras.Input((3,), dtype="int32")
    folded, _ = fold(keras.Model(inputs, inputs + inputs))
    np.testing.assert_array_equal(folded(np.array([[1, 2, 2**30 - 1]])), [[2, 4, 2**31 - 2]])


def test_factors_of_a_sum():
    """By hand: one tensor is there twice, and a third of three."""
    x, y = keras.Input((2,)), keras.Input((2,))
    graph = trace(keras.Model([x, y], average(x, y, x)))
    assert list(factors_of(graph, graph.calls[-1]).values()) == [pytest.approx(2 / 3), pytest.approx(1 / 3)]


SKIPS = {
    "difference": lambda x: difference(x, inner(x)),
    "difference_from_the_branch": lambda x: difference(inner(x), x),
    "operator": lambda x: x - layers.Dropout(0.2)(inner(x)),
    "average": lambda x: average(x, inner(x)),
    "average_of_three": lambda x: average(x, inner(x), conv(x, 1)),
    "mean_of_a_stack": lambda x: ops.mean(stacked(1, x, inner(x)), axis=1),
    "activation_at_the_end": lambda x: difference(x, layers.ReLU()(conv(x))),
    "one_tensor_twice": lambda x: layers.Add()([x, inner(x), x]),
}


@pytest.mark.slow
@pytest.mark.parametrize("block", SKIPS)
def test_skips_are_taken_out_whatever_way_they_are_added(block):
    model = network(SKIPS[block])
    plain, certificate = plainify(model)
    assert_plain(plain)
    assert certificate.skips
    assert relative_difference(model, plain) < TOLERANCE


@pytest.mark.slow
def test_a_factor_costs_no_layer():
    counts = [
        sum(hasattr(layer, "kernel") for layer in plainify(network(block))[0].layers)
        for block in (lambda x: layers.Add()([x, inner(x)]), SKIPS["difference"], SKIPS["average"])
    ]
    assert counts == [counts[0]] * 3
