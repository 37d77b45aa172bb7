"""Where integers run through a graph. Keras calls what many layers pass on a float, and it is none."""

import keras

from dirac_keras.graph.layer_types import raw_operation_name

_CASTING = (keras.layers.Rescaling, keras.layers.Normalization)


def integer_slots(graph, model):
    """The ids of the arguments (`Call.slots`) that may hold integers or flags when the model runs.

    Layers without weights, pooling for one, give back the type that they are given, whatever their output's dtype says.

    Args:
        graph: `Graph` of `model`, as it was traced.
    """
    inputs = keras.tree.flatten(model.inputs)
    found = {tensor for tensor, own in zip(graph.inputs, inputs, strict=True) if "float" not in own.dtype}
    slots = set()
    for call in graph.calls:
        given = [id(slot) for slot, tensor in zip(call.slots, call.inputs, strict=True) if tensor in found]
        slots.update(given)
        if given and not _casts(call):
            found.update(call.outputs)
    return slots


def _casts(call):
    operation = call.operation
    if isinstance(operation, keras.layers.Layer):
        return bool(operation.weights) or isinstance(operation, _CASTING)
    return raw_operation_name(operation) == "Cast" and "float" in call.output_dtypes[0]
