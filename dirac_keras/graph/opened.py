"""A layer that holds other layers, opened: its code is read by running it on symbols."""

import keras

from dirac_keras.graph.functional import has_graph
from dirac_keras.graph.trace import trace


def open_call(call):
    """The `Graph` of what one call of a layer does inside; None if its code cannot be read so.

    Keras' own operations and layers run on symbols. What a backend does by itself, such as a loop over steps, does not.

    Args:
        call: `trace.Call` of a built layer with known shapes.
    """
    if not isinstance(call.operation, keras.layers.Layer) or has_graph(call.operation):
        return None
    fresh = iter(
        keras.Input(batch_shape=shape, dtype=dtype)
        for shape, dtype in zip(call.input_shapes, call.input_dtypes, strict=True)
    )
    inputs = []

    def take(value):
        if not isinstance(value, keras.KerasTensor):
            return value
        inputs.append(next(fresh))
        return inputs[-1]

    try:
        args, kwargs = keras.tree.map_structure(take, (call.args, call.kwargs))
        with keras.StatelessScope():  # what the code assigns to its variables is not kept
            outputs = call.operation.call(*args, **kwargs)
        return trace(keras.Model(inputs, outputs))
    except Exception:  # another's code runs here, on what it was not written for
        return None
