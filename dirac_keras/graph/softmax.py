"""What a classifier's outputs are: read off the last steps of its graph."""

import keras

from dirac_keras.graph.functional import has_graph
from dirac_keras.graph.layer_types import is_from_keras, is_keras_op, raw_operation_name
from dirac_keras.graph.trace import trace


def kind_of_outputs(model):
    """`"softmax"`, `"log_softmax"`, `"sigmoid"` or `"logits"`; None where the graph does not say.

    The last steps are passed over as long as they only copy, reshape, cast or drop values. `"logits"` is what comes
    from a layer that is known to give any numbers, such as a `Dense` one without activation.

    Args:
        model: any `keras.Model` with one output whose last axis is the classes.
    """
    if not has_graph(model):
        return None
    graph = trace(model)
    if len(graph.outputs) != 1:
        return None
    shape = model.outputs[0].shape
    return kind_of_tensor(graph, graph.outputs[0], shape[-1]) if len(shape) else None


def ends_in_softmax(model):
    """Whether the graph says that the outputs are probabilities of a softmax."""
    return kind_of_outputs(model) == "softmax"


def kind_of_tensor(graph, tensor, classes):
    """`kind_of_outputs` of a tensor of a `trace.Graph`, whose last axis is the classes."""
    call = graph.producer.get(tensor)
    if call is None:
        return None  # an input as it came
    operation = call.operation
    activation = getattr(operation, "activation", None) if isinstance(operation, keras.layers.Layer) else None
    if isinstance(operation, keras.layers.Softmax) or raw_operation_name(operation) in ("Softmax", "LogSoftmax"):
        name = "log_softmax" if raw_operation_name(operation) == "LogSoftmax" else "softmax"
        return name if _is_over_classes(operation, call, classes) else None
    if raw_operation_name(operation) == "Sigmoid":
        return "sigmoid"
    if activation is not None and activation is not keras.activations.linear:
        # Of another's class, nothing says that the activation comes last.
        is_over_classes = call.output_shapes[0][-1] == classes
        return _ACTIVATIONS.get(activation) if _is_known(operation) and is_over_classes else None
    if copies_values(call):
        return kind_of_tensor(graph, call.inputs[0], classes)
    if _averages(operation):
        kinds = {kind_of_tensor(graph, source, classes) for source in call.inputs}
        return kinds.pop() if len(kinds) == 1 and kinds <= {"softmax", "logits"} else None
    return "logits" if _gives_any_number(operation) else None


def _is_over_classes(operation, call, classes):
    rank = len(call.output_shapes[0])
    axis = getattr(operation, "axis", -1)
    axes = {each % rank for each in (axis if isinstance(axis, (list, tuple)) else (axis,)) if each is not None}
    return axes == {rank - 1} and call.output_shapes[0][-1] == classes


def copies_values(call):
    """Whether it gives the values of its one input, in another shape or precision at most; not in another order."""
    operation = call.operation
    if len(call.inputs) != 1 or len(call.outputs) != 1:
        return False
    if type(operation) in _COPYING or raw_operation_name(operation) in _COPYING_OPS:
        # What joins or parts the axis of the classes leaves no rows that sum to 1.
        return call.input_shapes[0][-1] == call.output_shapes[0][-1] or 1 in (
            call.input_shapes[0][-1],
            call.output_shapes[0][-1],
        )
    return type(operation) is keras.layers.Activation  # linear: others were dealt with


def _averages(operation):
    return is_keras_op(operation, "Average")


def _is_known(operation):
    return is_from_keras(operation) or type(operation).__module__.split(".")[0] == "dirac_keras"


def _gives_any_number(operation):
    return isinstance(operation, keras.layers.Layer) and _is_known(operation) and hasattr(operation, "kernel")


def _layers(names):
    return tuple(getattr(keras.layers, name) for name in names.split() if hasattr(keras.layers, name))


_ACTIVATIONS = {
    keras.activations.softmax: "softmax",
    keras.activations.log_softmax: "log_softmax",
    keras.activations.sigmoid: "sigmoid",
}
_COPYING = _layers(
    "Identity Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout GaussianNoise "
    "ActivityRegularization Flatten Reshape GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D"
)
_COPYING_OPS = ("Cast", "Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "Copy")
