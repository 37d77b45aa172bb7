"""Memory of activations: what is alive at the same time."""

import keras
from keras import layers

from dirac_keras.graph.memory import peak_activations

KIB = 4 * 16 * 16  # a channel of 16x16 in float32: 1 KiB


def test_a_chain_needs_two_tensors_at_a_time():
    """1 channel in, then 4, 8 and 2: most is alive where the 8 are made of the 4."""
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(4, 1)(inputs)
    x = layers.Conv2D(8, 1, name="widest")(x)
    found = peak_activations(keras.Model(inputs, layers.Conv2D(2, 1)(x)))
    assert (found.bytes, found.at, found.tensors) == (12 * KIB, "widest", 2)


def test_a_skip_keeps_its_tensor_alive():
    inputs = keras.Input((16, 16, 4))
    x = layers.Conv2D(4, 1)(inputs)
    y = layers.Conv2D(8, 1)(x)
    y = layers.Conv2D(4, 1, name="second")(y)
    plain = peak_activations(keras.Model(inputs, y))
    residual = peak_activations(keras.Model(inputs, layers.Add()([x, y])))
    assert plain.bytes == 12 * KIB
    assert (residual.bytes, residual.at) == (16 * KIB, "second")


def test_activations_write_over_what_nobody_else_reads():
    inputs = keras.Input((16, 16, 4))
    x = layers.Conv2D(4, 1)(inputs)
    alone = keras.Model(inputs, layers.ReLU()(x))
    assert peak_activations(alone).bytes == 8 * KIB
    both = keras.Model(inputs, [layers.ReLU()(x), x])
    assert peak_activations(both).bytes == 8 * KIB


def test_half_precision_takes_half_and_open_sizes_are_unknown():
    inputs = keras.Input((16, 16, 4), dtype="float16")
    assert peak_activations(keras.Model(inputs, layers.Conv2D(4, 1, dtype="float16")(inputs))).bytes == 4 * KIB
    inputs = keras.Input((None, None, 4))
    model = keras.Model(inputs, layers.Conv2D(4, 1)(inputs))
    assert "unknown" in str(peak_activations(model))
    assert peak_activations(model, [(1, 16, 16, 4)]).bytes == 8 * KIB
