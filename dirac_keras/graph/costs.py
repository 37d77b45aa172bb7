"""Multiply-accumulates of a model, layer by layer."""

import dataclasses
import math

import keras

from dirac_keras.errors import UserError
from dirac_keras.graph.functional import check_has_graph
from dirac_keras.graph.layer_types import (
    CONVOLUTIONS,
    DENSE,
    RECURRENT,
    SEPARABLE_CONVOLUTIONS,
    TRANSPOSED_CONVOLUTIONS,
    raw_operation_name,
)
from dirac_keras.graph.trace import trace


def count_macs(model, input_shapes=None):
    """Multiply-accumulates of one sample, per layer.

    Counted are convolutions, dense and recurrent layers, `EinsumDense` and `matmul`; a bias, a normalization,
    an activation or a pooling multiplies no two tensors and counts 0, as does a layer of unknown type.

    Args:
        model: Functional or built Sequential model.
        input_shapes: list of shapes with the batch axis, one per input; None takes the model's own.

    Returns: dict, layer name -> int, in the order of computation, without the layers that count 0. Layers of
        nested models are named `model/layer`; the calls of a shared layer are summed.
    Raises: ValueError: if the model has no graph of layers, or its shapes are unknown and not given.
    """
    macs = {}
    for call in _calls(model, input_shapes):
        count = _MACS.get(type(call.operation), _MACS.get(raw_operation_name(call.operation)))
        if count is None:
            continue
        shapes = [*call.input_shapes, *call.output_shapes]
        if any(length is None for shape in shapes for length in shape):
            raise UserError(
                f"input_shapes must leave no size unknown. Received input_shapes={input_shapes}, with which "
                f"layer '{call.path}' maps {call.input_shapes} to {call.output_shapes}."
            )
        batch = call.input_shapes[0][0]
        macs[call.path] = macs.get(call.path, 0) + count(call) // batch
    return macs


def _calls(model, input_shapes):
    check_has_graph(model)
    if input_shapes is None:
        input_shapes = [(tensor.shape[0] or 1, *tensor.shape[1:]) for tensor in model.inputs]
    calls = trace(model, input_shapes).calls
    return [_with_batch(call, input_shapes[0][0]) for call in calls] if input_shapes else calls


def _with_batch(call, batch):
    """Put back the batch that `EinsumDense` of Keras 3.12 forgets."""
    known = {
        side: [(batch, *shape[1:]) if len(shape) and shape[0] is None else shape for shape in getattr(call, side)]
        for side in ("input_shapes", "output_shapes")
    }
    return dataclasses.replace(call, **known)


# Multiply-accumulates -------------------------------------------------------------------------------------
def _spatial(shape, layer):
    channels_first = getattr(layer, "data_format", None) == "channels_first"
    return math.prod(shape[2:] if channels_first else shape[1:-1])


def _conv_macs(call):
    layer, shape = call.operation, call.output_shapes[0]
    return shape[0] * _spatial(shape, layer) * math.prod(layer.kernel.shape)


def _separable_macs(call):
    layer, shape = call.operation, call.output_shapes[0]
    weights = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return shape[0] * _spatial(shape, layer) * weights


def _transpose_macs(call):
    layer, shape = call.operation, call.input_shapes[0]
    return shape[0] * _spatial(shape, layer) * math.prod(layer.kernel.shape)


def _dense_macs(call):
    return math.prod(call.input_shapes[0]) * call.operation.units


def _einsum_dense_macs(call):
    """The product of all index lengths: each combination is one multiplication."""
    inputs, kernel = call.operation.equation.split("->")[0].split(",")
    lengths = dict(zip(reversed(kernel), reversed(call.operation.kernel.shape), strict=True))
    letters = [letter for letter in inputs if letter != "."]
    if "..." not in inputs:
        lengths.update(zip(letters, call.input_shapes[0], strict=True))
        return math.prod(lengths.values())
    front = inputs.index("...") == 0
    given = call.input_shapes[0]
    named = given[len(given) - len(letters) :] if front else given[: len(letters)]
    rest = math.prod(given) // math.prod(named)
    lengths.update(zip(letters, named, strict=True))
    return rest * math.prod(lengths.values())


def _recurrent_macs(call):
    batch, steps, _ = call.input_shapes[0]
    cell = call.operation.cell
    return batch * steps * (math.prod(cell.kernel.shape) + math.prod(cell.recurrent_kernel.shape))


def _matmul_macs(call):
    if len(call.input_shapes) != 2:
        return 0
    return math.prod(call.output_shapes[0]) * call.input_shapes[0][-1]


_MACS = {
    **dict.fromkeys(CONVOLUTIONS, _conv_macs),
    **dict.fromkeys(SEPARABLE_CONVOLUTIONS, _separable_macs),
    **dict.fromkeys(TRANSPOSED_CONVOLUTIONS, _transpose_macs),
    **dict.fromkeys(DENSE, _dense_macs),
    **dict.fromkeys(RECURRENT, _recurrent_macs),
    keras.layers.EinsumDense: _einsum_dense_macs,
    "Matmul": _matmul_macs,
}
