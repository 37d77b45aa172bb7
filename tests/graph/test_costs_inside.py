"""Multiply-accumulates of layers that hold layers, and what is said of those that cannot be counted."""

import keras
import pytest
from keras import layers, ops

from dirac_keras.graph.costs import count_costs, count_macs


def chain(input_shape, *parts):
    x = inputs = keras.Input(input_shape)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def small_net():
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)])


class Block(layers.Layer):
    """Layers, a product with a weight of its own, and state that counts the calls."""

    def __init__(self):
        super().__init__()
        self.conv, self.separable = layers.Conv2D(4, 3), layers.SeparableConv2D(5, 3)
        self.calls = self.add_weight(name="calls", shape=(), trainable=False, initializer="zeros")

    def build(self, shape):
        self.conv.build(shape)
        self.separable.build(self.conv.compute_output_shape(shape))
        self.mixing = self.add_weight(name="mixing", shape=(5, 6))

    def call(self, x):
        self.calls.assign_add(1.0)
        return ops.matmul(self.separable(self.conv(x)), self.mixing)


class Inner(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        return self.dense(x)


def attend(layer):
    return lambda x: layer(x, x)


# model, multiply-accumulates worked by hand
CASES = {
    "time_distributed_dense": (lambda: chain((5, 7), layers.TimeDistributed(layers.Dense(4))), 5 * 7 * 4),
    "time_distributed_conv": (
        lambda: chain((5, 8, 8, 3), layers.TimeDistributed(layers.Conv2D(4, 3))),
        5 * 36 * 9 * 3 * 4,
    ),
    "time_distributed_model": (
        lambda: chain((5, 8, 8, 3), layers.TimeDistributed(small_net())),
        5 * (36 * 9 * 3 * 4 + 144 * 2),
    ),
    "bidirectional": (lambda: chain((6, 3), layers.Bidirectional(layers.LSTM(4))), 2 * 6 * (3 + 4) * 16),
    "bidirectional_of_two_kinds": (
        lambda: chain((6, 3), layers.Bidirectional(layers.GRU(4), backward_layer=layers.LSTM(5, go_backwards=True))),
        6 * (3 + 4) * 12 + 6 * (3 + 5) * 20,
    ),
    "stacked_cells": (
        lambda: chain((6, 3), layers.RNN(layers.StackedRNNCells([layers.LSTMCell(4), layers.GRUCell(5)]))),
        6 * ((3 + 4) * 16 + (4 + 5) * 15),
    ),
    "conv_lstm": (lambda: chain((5, 9, 9, 3), layers.ConvLSTM2D(4, 3)), 5 * 49 * 9 * (3 + 4) * 16),
    "conv_lstm_sequence": (
        lambda: chain((5, 9, 9, 3), layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True)),
        5 * 81 * 9 * (3 + 4) * 16,
    ),
    # 2 heads of 4: query, key, value and output projections, then scores and sums of values
    "multi_head_attention": (
        lambda: chain((5, 8), attend(layers.MultiHeadAttention(2, 4))),
        4 * 5 * 8 * 8 + 5 * 5 * 2 * (4 + 4),
    ),
    "multi_head_attention_over_rows": (
        lambda: chain((5, 3, 8), attend(layers.MultiHeadAttention(2, 4, value_dim=3, attention_axes=(2,)))),
        15 * 8 * 2 * (4 + 4 + 3 + 3) + 5 * 3 * 3 * 2 * (4 + 3),
    ),
    "grouped_query_attention": (
        lambda: chain((5, 8), attend(layers.GroupQueryAttention(4, 4, 2))),
        2 * 5 * 8 * 16 + 2 * 5 * 8 * 8 + 5 * 5 * 4 * (4 + 4),
    ),
    "attention": (lambda: chain((5, 8), lambda x: layers.Attention()([x, x])), 5 * 5 * (8 + 8)),
    "additive_attention": (lambda: chain((5, 8), lambda x: layers.AdditiveAttention()([x, x])), 5 * 5 * (8 + 8)),
    "dot": (lambda: chain((5, 8), lambda x: layers.Dot(axes=2)([x, x])), 5 * 5 * 8),
    "spectral_normalization": (
        lambda: chain((9, 9, 3), layers.SpectralNormalization(layers.Conv2D(4, 3))),
        49 * 9 * 3 * 4,
    ),
    "composite_layer": (
        lambda: chain((9, 9, 3), Block()),
        49 * 9 * 3 * 4 + 25 * (9 * 4 + 4 * 5) + 25 * 5 * 6,
    ),
    "subclassed_model": (lambda: chain((5, 7), Inner()), 5 * 7 * 4),
    "lambda": (
        lambda: chain((5, 8), layers.Lambda(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))))),
        5 * 5 * 8,
    ),
    "einsum": (lambda: chain((5, 8), lambda x: ops.einsum("bij,bkj->bik", x, x)), 5 * 5 * 8),
    "windows_in_the_batch": (
        lambda: chain(
            (8, 8, 3), lambda x: ops.reshape(x, (-1, 16, 3)), lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        ),
        4 * 16 * 16 * 3,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_layers_hold_is_counted(case):
    make, expected = CASES[case]
    costs = count_costs(make())
    assert (costs.total, costs.uncounted) == (expected, ())


def test_counting_leaves_the_state_of_a_layer_as_it_is():
    block = Block()
    model = chain((9, 9, 3), block)
    before = float(block.calls)
    count_costs(model)
    assert float(block.calls) == before


def test_code_that_cannot_be_read_is_named_and_makes_the_total_a_lower_bound():
    class OfTheBackend(layers.Layer):
        def call(self, x):
            if keras.backend.backend() == "jax":
                import jax.numpy as jnp

                return jnp.matmul(x, jnp.swapaxes(x, 1, 2))
            import tensorflow as tf

            return tf.matmul(x, x, transpose_b=True)

    costs = count_costs(chain((5, 8), layers.Dense(3, name="dense"), OfTheBackend(name="own")))
    assert costs.macs == {"dense": 5 * 8 * 3}
    assert costs.uncounted == ("own",)
    assert str(costs) == ">= 120, 1 layer not counted"


def test_cell_of_unknown_code_is_not_counted():
    class Cell(layers.Layer):
        state_size = 3

        def call(self, inputs, states):
            return inputs, states

    assert count_costs(chain((6, 3), layers.RNN(Cell(), name="own"))).uncounted == ("own",)


def test_open_sizes_are_not_counted_where_they_matter():
    model = chain(
        (None, None, 3),
        layers.Conv2D(4, 3, name="conv"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, name="head"),
    )
    costs = count_costs(model)
    assert (costs.macs, costs.uncounted) == ({"head": 8}, ("conv",))
    assert count_costs(model, [(1, 8, 8, 3)]).total == 36 * 9 * 3 * 4 + 8


def test_layers_that_look_up_or_only_scale_count_nothing():
    tokens = keras.Input((5,), dtype="int32")
    x = layers.LayerNormalization()(layers.Embedding(10, 4)(tokens))
    costs = count_costs(keras.Model(tokens, layers.PReLU()(x)))
    assert (costs.macs, costs.uncounted) == ({}, ())


def test_macs_are_the_counted_ones():
    model = CASES["composite_layer"][0]()
    assert count_macs(model) == count_costs(model).macs
