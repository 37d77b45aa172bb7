"""Random inputs that a model can take."""

import keras
import numpy as np

from dirac_keras.graph.functional import input_structure
from dirac_keras.graph.layer_types import raw_operation_name
from dirac_keras.graph.nested import all_layers
from dirac_keras.graph.trace import trace

_ROWS = {  # layer type -> attribute: how many whole numbers, from 0 on, it takes
    keras.layers.Embedding: "input_dim",
    keras.layers.CategoryEncoding: "num_tokens",
}
_SAME_NUMBERS = (
    *(keras.layers.Reshape, keras.layers.Flatten, keras.layers.Permute, keras.layers.RepeatVector),
    *(keras.layers.Identity, keras.layers.InputLayer, keras.layers.Concatenate, keras.layers.Dropout),
)
_SAME_NUMBERS_RAW = (
    *("Cast", "Reshape", "Transpose", "ExpandDims", "Squeeze", "GetItem", "Slice", "Split", "Concatenate", "Stack"),
    *("BroadcastTo", "Repeat", "Flip", "Roll", "Tile", "Unstack"),
)
_LEVELS = 256  # of integers that are no index: those of an image


def random_inputs(model, shapes, seed=0, levels=_LEVELS):
    """Random inputs in the structure of the model's.

    They are normal, behind the model's own rescaling if it has one; what goes to an embedding or an encoding of
    categories is a whole number that this has a row for, also where the input is a float. Words are some
    that lookups know.

    Args:
        model: Functional or built Sequential model.
        shapes: list of shapes with the batch axis, one per `model.inputs`.
        seed: int.
        levels: int, integers that are no index lie below it.

    Returns: tensors in the structure of the model's inputs.
    """
    generator = np.random.default_rng(seed)
    rescalings = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Rescaling)]
    scale, offset = (rescalings[0].scale, rescalings[0].offset) if rescalings else (1.0, 0.0)
    if np.size(scale) * np.size(offset) > 1:  # per channel: whether these are the inputs' channels is not known
        scale, offset = np.mean(scale), np.mean(offset)
    scale = 1.0 if scale == 0 else scale
    arrays = []
    for tensor, shape, rows in zip(model.inputs, shapes, _rows_of_inputs(model), strict=True):
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if dtype == "string":
            values = generator.choice([*_words(model), "a", "b c d"], shape)
        elif dtype == "bool":
            values = generator.random(shape) < 0.5
        elif rows is not None or "int" in dtype:
            high = min(levels if rows is None else rows, np.iinfo(dtype).max + 1 if "int" in dtype else levels)
            values = generator.integers(0, high, shape)
        else:
            values = (generator.normal(size=shape) - offset) / scale
        arrays.append(keras.ops.convert_to_tensor(values, dtype=dtype))
    structure = input_structure(model)
    arrays = keras.tree.pack_sequence_as(structure, arrays)
    return arrays[0] if isinstance(model, keras.Sequential) else arrays


def _words(model):
    """Words that the model's lookups know, so that not all are unknown."""
    vocabularies = [layer.get_vocabulary() for layer in all_layers(model) if hasattr(layer, "get_vocabulary")]
    return [word for words in vocabularies for word in words[:64] if isinstance(word, str)]


def _rows_of_inputs(model):
    """For each input the least number of rows of what looks it up; None where it is a number like any other."""
    everywhere = min([rows for layer in all_layers(model) if (rows := _rows(layer))], default=None)
    graph = trace(model)
    found = []
    for source, tensor in zip(graph.inputs, model.inputs, strict=True):
        rows, waiting, seen = [], [source], set()
        while waiting:
            for call in graph.consumers.get(waiting.pop(), []):
                if id(call) in seen:
                    continue
                seen.add(id(call))
                if _rows(call.operation):
                    rows.append(_rows(call.operation))
                elif _keeps_numbers(call.operation):
                    waiting += call.outputs
        is_integer = "int" in keras.backend.standardize_dtype(tensor.dtype)
        found.append(min(rows) if rows else everywhere if is_integer else None)
    return found


def _rows(operation):
    layer = getattr(operation, "layer", operation)  # what a wrapper wraps
    return next((getattr(layer, name) for kind, name in _ROWS.items() if isinstance(layer, kind)), None)


def _keeps_numbers(operation):
    return isinstance(operation, _SAME_NUMBERS) or raw_operation_name(operation) in _SAME_NUMBERS_RAW
