"""The inputs of a graph, what they may hold, and the layers that take what is no float."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

CHANNELS = (3, 2, 4)


@dataclass(frozen=True)
class Start:
    """A model's input, the tensor behind its preprocessing, and `values(random, shape)`, an array."""

    tensor: object
    first: object
    values: object


def normal(random, shape):
    return random.normal(size=shape).astype("float32")


def integers(low, high, dtype):
    return lambda random, shape: random.integers(low, high, shape).astype(dtype)


def words(random, shape):
    return random.choice(["red", "green", "blue", "none"], shape)


def start(site, kind, batch, is_open, name=None):
    """An input of `kind`: images, volumes, sequences, vectors, pixels, tokens, words, bins, categories or flags."""
    channels = site.choices.pick(CHANNELS)
    if kind == "words" and keras.backend.backend() != "tensorflow":
        kind = "tokens"

    def shape(rank):
        size = None if is_open else site.choices.pick([8, 12, 7] if rank < 5 else [6, 5])
        sizes = [size] * (rank - 2)
        return (batch, channels, *sizes) if site.data_format == "channels_first" else (batch, *sizes, channels)

    if kind in ("images", "volumes", "sequences", "vectors"):
        rank = {"images": 4, "volumes": 5, "sequences": 3, "vectors": 2}[kind]
        tensor = keras.Input(batch_shape=shape(rank), name=name)
        return Start(tensor, tensor, normal)
    if kind == "pixels":
        dtype = site.choices.pick(["uint8", "int32"])
        tensor = keras.Input(batch_shape=shape(4), dtype=dtype, name=name)
        first = tensor
        if site.choices.chance(0.3):
            first = layers.Resizing(9, 9, data_format=site.data_format)(tensor)
        elif site.choices.chance(0.6):
            first = layers.Rescaling(1 / 255.0)(tensor)
        return Start(tensor, first, integers(0, 256, dtype))
    if kind == "flags":
        tensor = keras.Input(batch_shape=(batch, 4), dtype="bool", name=name)
        return Start(tensor, keras.ops.cast(tensor, site.precision or "float32"), integers(0, 2, "bool"))
    steps = None if is_open else 6
    if kind == "tokens":
        rows = site.choices.pick([7, 20])
        tensor = keras.Input(batch_shape=(batch, steps), dtype="int32", name=name)
        return Start(
            tensor, layers.Embedding(rows, 4, mask_zero=site.choices.chance(0.25))(tensor), integers(0, rows, "int32")
        )
    if kind == "words":
        tensor = keras.Input(batch_shape=(batch, 4), dtype="string", name=name)
        indices = layers.StringLookup(vocabulary=["red", "green", "blue"])(tensor)
        return Start(tensor, layers.Embedding(4, 3)(indices), words)
    if kind == "categories":
        tensor = keras.Input(batch_shape=(batch, 4), dtype="int32", name=name)
        encoded = layers.CategoryEncoding(num_tokens=5, output_mode="multi_hot")(tensor)
        return Start(tensor, encoded, integers(0, 5, "int32"))
    tensor = keras.Input(batch_shape=(batch, 5), name=name)  # bins
    if site.choices.chance(0.5):
        layer = layers.Discretization(num_bins=4)
        layer.adapt(np.random.default_rng(0).normal(size=(50, 5)))
    else:
        layer = layers.Discretization(bin_boundaries=[-0.5, 0.1, 0.7])
    return Start(tensor, layers.Embedding(8, 3)(layer(tensor)), normal)


KINDS = {
    "images": 10,
    "vectors": 5,
    "sequences": 4,
    "volumes": 2,
    "pixels": 4,
    "tokens": 2,
    "words": 1,
    "categories": 1,
    "bins": 1,
    "flags": 1,
}
