"""Models with weights moved off their start, and how far a folded one is from its original."""

import keras
import numpy as np
from keras import layers

from dirac_keras.folding import fold

# Relative to the output's scale: float32 has eps 1.2e-7, and sums of some hundred terms in another order
# differ by some ten eps. A wrong fold is off by 0.01 and more.
TOLERANCE = 1e-5


def randomize(model, seed=0):
    """Moves every weight off its start: a fresh BatchNormalization, nearly the identity, hides mistakes."""
    random = np.random.default_rng(seed)
    for layer in all_layers(model):
        is_normalization = isinstance(layer, layers.BatchNormalization)
        for variable in layer.weights:
            values = random.normal(size=variable.shape)
            if is_normalization and ("variance" in variable.name or "stddev" in variable.name):
                values = random.uniform(0.1, 3.0, variable.shape)
            if is_normalization and variable.name == "gamma":
                values[0] = 0.0
            variable.assign(values)
    return model


def all_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield getattr(layer, "layer", layer)  # what a wrapper wraps


def chain(input_shape, *parts, **input_arguments):
    """Functional model of layers, one after the other."""
    x = inputs = keras.Input(input_shape, **input_arguments)
    for part in parts:
        x = part(x)
    return randomize(keras.Model(inputs, x))


def normalizations(model):
    return [layer for layer in all_layers(model) if isinstance(layer, layers.BatchNormalization)]


def relative_difference(model, folded):
    """Largest difference on inputs of the test's own, relative to the output's scale."""
    random = np.random.default_rng(7)
    inputs = [_values(random, tensor) for tensor in model.inputs]
    structure = model.inputs if isinstance(model, keras.Sequential) else model.input
    inputs = keras.tree.pack_sequence_as(structure, inputs)
    inputs = inputs[0] if isinstance(model, keras.Sequential) else inputs
    pairs = zip(keras.tree.flatten(model(inputs)), keras.tree.flatten(folded(inputs)), strict=True)
    differences = []
    for expected, actual in pairs:
        expected, actual = (keras.ops.convert_to_numpy(x).astype("float64") for x in (expected, actual))
        assert expected.shape == actual.shape
        differences.append(np.abs(expected - actual).max() / np.abs(expected).max())
    return max(differences)


def _values(random, tensor):
    shape = (tensor.shape[0] or 3, *(length or 7 for length in tensor.shape[1:]))
    if "int" in tensor.dtype:
        return random.integers(0, 3, shape).astype(tensor.dtype)
    return random.normal(size=shape).astype("float32")


def assert_all_folds(model, **options):
    folded, report = fold(model, **options)
    assert normalizations(folded) == [], str(report)
    assert report.kept == ()
    assert relative_difference(model, folded) < TOLERANCE
    return folded, report


def assert_stays(model, reason, remaining=1, **options):
    folded, report = fold(model, **options)
    assert len(normalizations(folded)) == remaining
    assert any(reason in entry.reason for entry in report.kept), str(report)
    assert relative_difference(model, folded) < TOLERANCE
    return folded, report
