"""Memory of activations: which tensors have to be kept at the same time while a model runs."""

import dataclasses
import math

import keras

from dirac_keras.graph.functional import check_has_graph
from dirac_keras.graph.layer_types import is_from_keras, raw_operation_name
from dirac_keras.graph.trace import trace

_BYTES = {"float64": 8, "int64": 8, "uint64": 8, "float32": 4, "int32": 4, "uint32": 4, "complex64": 8}
_BYTES |= {"float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "bool": 1}
_IN_PLACE = tuple(
    getattr(keras.layers, name)
    for name in (
        *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Dropout", "BatchNormalization", "Add"),
        *("Multiply", "Subtract", "Average", "Maximum", "Minimum", "Identity", "Rescaling", "Reshape", "Flatten"),
    )
)
_IN_PLACE_RAW = ("Add", "Subtract", "Multiply", "Divide", "Relu", "Relu6", "Sigmoid", "Silu", "Gelu", "Tanh", "Reshape")


@dataclasses.dataclass(frozen=True)
class ActivationMemory:
    """The largest sum of the tensors that are alive at one time.

    Attributes:
        bytes: int, None where a size is open.
        at: str, path of the layer that runs then.
        tensors: int, how many are alive then, what this layer reads and writes included.
    """

    bytes: int | None
    at: str
    tensors: int

    def __str__(self):
        return "unknown: a size is open" if self.bytes is None else f"{self.bytes / 2**20:.2f} MiB at '{self.at}'"


def peak_activations(model, input_shapes=None):
    """The memory that a run at inference needs for tensors, weights apart, at the layer where it needs most.

    A tensor is alive from the layer that makes it to the last one that reads it; a skip connection keeps its tensor
    alive all the while. Layers run in the order of the graph. An activation, a normalization or an addition writes
    over what it reads where nothing else reads that.

    Args:
        model: Functional or built Sequential model.
        input_shapes: list of shapes with the batch axis, one per input; None takes the model's own with a batch of 1.

    Returns: `ActivationMemory`.
    Raises: ValueError: if the model has no graph of layers.
    """
    check_has_graph(model)
    if input_shapes is None:
        input_shapes = [(tensor.shape[0] or 1, *tensor.shape[1:]) for tensor in model.inputs]
    graph = trace(model, input_shapes)
    sizes = dict(zip(graph.inputs, map(_bytes, input_shapes, [x.dtype for x in model.inputs]), strict=True))
    for call in graph.calls:
        sizes |= zip(call.outputs, map(_bytes, call.output_shapes, call.output_dtypes), strict=True)
    last = {tensor: place for place, call in enumerate(graph.calls) for tensor in call.inputs}
    last |= dict.fromkeys(graph.outputs, len(graph.calls))
    if None in [sizes[tensor] for tensor in {*last, *graph.inputs}]:
        return ActivationMemory(None, "", 0)
    alive, peak = set(graph.inputs), ActivationMemory(0, "", 0)
    for place, call in enumerate(graph.calls):
        made = {tensor for tensor in call.outputs if tensor in last}
        ending = {tensor for tensor in call.inputs if last[tensor] == place}
        needed = alive | made
        if made and _is_in_place(call):
            needed -= {next((one for one in ending if sizes[one] == sizes[next(iter(made))]), None)}
        total = sum(sizes[tensor] for tensor in needed)
        if total > peak.bytes:
            peak = ActivationMemory(total, call.path, len(needed))
        alive = (alive | made) - ending
    return peak


def _is_in_place(call):
    operation = call.operation
    is_layer = isinstance(operation, _IN_PLACE) and is_from_keras(operation)
    is_normalization = isinstance(operation, keras.layers.BatchNormalization)
    return is_layer or is_normalization or raw_operation_name(operation) in _IN_PLACE_RAW


def _bytes(shape, dtype):
    return None if None in shape else math.prod(shape) * _BYTES.get(keras.backend.standardize_dtype(dtype), 4)
