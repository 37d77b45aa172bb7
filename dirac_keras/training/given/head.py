"""The layer of the classes in any network: found from the outputs upwards."""

import dataclasses

import keras

from dirac_keras.graph.layer_types import DENSE, raw_operation_name
from dirac_keras.graph.softmax import copies_values, kind_of_tensor

_POOLS = (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D)
_LINEAR = (None, keras.activations.linear)


@dataclasses.dataclass(frozen=True)
class FoundHead:
    """Where the classes of a network are made.

    Attributes:
        call: `trace.Call` of a `Dense` layer or a 1x1 convolution; None if the network ends in features.
        kind: `"softmax"`, `"log_softmax"`, `"sigmoid"` or `"logits"`; None with features.
        left_out: ids of the operations behind it that make probabilities of logits.
        units: int, the numbers it gives; None with features.
    """

    call: object = None
    kind: str | None = None
    left_out: frozenset = frozenset()
    units: int | None = None


def find_head(graph, classes):
    """The `FoundHead` of a network of one output.

    From the output upwards, what only copies, pools, drops out or scales values is passed over, and one softmax or
    sigmoid. What is met then is the head if it is linear; another layer makes features.

    Args:
        graph: `trace.Graph`.
        classes: int, the last side of the output.
    """
    kind, left_out, tensor = None, set(), graph.outputs[0]
    while (call := graph.producer.get(tensor)) is not None:
        operation = call.operation
        if kind is None and _only_makes_probabilities(operation):
            kind = kind_of_tensor(graph, tensor, classes)
            if kind is None:  # over other axes than the classes
                return FoundHead()
            left_out.add(id(operation))
        elif copies_values(call) or type(operation) in (*_POOLS, keras.layers.Rescaling):
            pass
        elif _is_linear_layer(operation) and len(call.inputs) == 1 and len(graph.calls_of[id(operation)]) == 1:
            own = kind_of_tensor(graph, tensor, call.output_shapes[0][-1])
            if own is None or (kind is not None and own != "logits"):
                return FoundHead()
            return FoundHead(call, kind or own, frozenset(left_out), call.output_shapes[0][-1])
        else:
            return FoundHead()
        tensor = call.inputs[0]
    return FoundHead()


def _only_makes_probabilities(operation):
    if type(operation) is keras.layers.Activation:
        return operation.activation not in _LINEAR
    names = ("Softmax", "LogSoftmax", "Sigmoid")
    return isinstance(operation, keras.layers.Softmax) or raw_operation_name(operation) in names


def _is_linear_layer(operation):
    if isinstance(operation, DENSE):
        return True
    return type(operation) is keras.layers.Conv2D and {*operation.kernel_size, *operation.strides} == {1}
