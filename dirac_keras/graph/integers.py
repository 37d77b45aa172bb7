"""Tensors that hold integers when the model runs, also where Keras says that they are floating-point numbers.

A layer that only moves, pools or picks its input (`Resizing`, `MaxPooling2D`, `Flatten`, ...) declares its own
precision for its output, but casts nothing: integers stay what they are.
"""

import keras

from dirac_keras.graph.layer_types import (
    CONVOLUTIONS,
    DENSE,
    RECURRENT,
    SEPARABLE_CONVOLUTIONS,
    TRANSPOSED_CONVOLUTIONS,
)

_MAKE_FLOATS = (  # whatever they read
    *(*CONVOLUTIONS, *SEPARABLE_CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS, *DENSE, *RECURRENT),
    *(keras.layers.EinsumDense, keras.layers.Embedding, keras.layers.BatchNormalization),
    *(keras.layers.Rescaling, keras.layers.Normalization),
)


def integer_tensors(calls):
    """Set of the tensors of these calls, in the order in which they run, that may hold integers or truth values."""
    found = set()
    for call in calls:
        for tensor, dtype in zip(call.inputs, call.input_dtypes, strict=True):
            if not keras.backend.is_float_dtype(dtype):
                found.add(tensor)
        keeps = call.inputs and all(tensor in found for tensor in call.inputs) and not _makes_floats(call.operation)
        for tensor, dtype in zip(call.outputs, call.output_dtypes, strict=True):
            if keeps or not keras.backend.is_float_dtype(dtype):
                found.add(tensor)
    return found


def _makes_floats(operation):
    if isinstance(operation, keras.layers.TimeDistributed):
        operation = operation.layer
    is_cast = type(operation).__name__ == "Cast" and keras.backend.is_float_dtype(str(operation.dtype))
    return is_cast or isinstance(operation, _MAKE_FLOATS)
