"""Bounds of channels are proven: no input breaks them, and the numbers worked by hand come out."""

import keras
import numpy as np
from keras import layers

from dirac_keras.conversion.bounds import bounds_of
from dirac_keras.folding.rules import Rules
from dirac_keras.graph.trace import trace
from tests.conversion import blocks


def bounds_by_layer(model):
    graph = trace(model)
    bounds, _ = bounds_of(graph, Rules())
    return {call.path: bounds[call.outputs[0]] for call in graph.calls if call.outputs[0] in bounds}


def test_bounds_worked_by_hand():
    """relu6 is in [0, 6]; 2 x - y + 1 of it in [-5, 13]; a sum with relu6 in [-5, 19]; zeros reach a padded kernel."""
    inputs = keras.Input((4, 4, 1))
    x = layers.ReLU(6.0, name="relu6")(inputs)
    pair = layers.Conv2D(2, 1, kernel_initializer="ones", use_bias=False, name="pair")(x)
    mixed = layers.Conv2D(1, 1, name="mixed")
    padded = layers.Conv2D(1, (1, 3), padding="same", kernel_initializer="ones", bias_initializer="ones", name="padded")
    y = mixed(pair)
    mixed.set_weights([np.array([2.0, -1.0]).reshape(1, 1, 2, 1), np.array([1.0])])
    model = keras.Model(inputs, padded(layers.Add(name="sum")([y, x])))
    found = {name: (one.low.tolist(), one.high.tolist()) for name, one in bounds_by_layer(model).items()}
    assert found == {
        "relu6": ([0.0], [6.0]),
        "pair": ([0.0, 0.0], [6.0, 6.0]),
        "mixed": ([-5.0], [13.0]),
        "sum": ([-5.0], [19.0]),
        "padded": ([-14.0], [58.0]),
    }


def test_no_input_breaks_the_bounds():
    def block(x):
        x = blocks.inverted(blocks.conv(x, 5, 1), lambda: layers.ReLU(6.0))
        return layers.AveragePooling2D(2)(layers.MaxPooling2D(3, 1, "same")(blocks.inverted(x, layers.ReLU)))

    model = blocks.network(block, activation=lambda: layers.ReLU(6.0))
    images = 10.0 * np.random.default_rng(0).normal(size=(8, 8, 6, 3)).astype("float32")
    bounds = bounds_by_layer(model)
    outputs = keras.Model(model.input, {layer.name: layer.output for layer in model.layers[1:]})(images)
    checked = 0
    for name, values in outputs.items():
        if name not in bounds:
            continue
        values = keras.ops.convert_to_numpy(values).astype("float64")
        axes = tuple(range(values.ndim - 1))
        margin = 1e-5 * np.abs(values).max()
        assert np.all(values.min(axis=axes) >= bounds[name].low - margin), name
        assert np.all(values.max(axis=axes) <= bounds[name].high + margin), name
        checked += bool(np.isfinite(bounds[name].high).all())
    assert checked > 10
