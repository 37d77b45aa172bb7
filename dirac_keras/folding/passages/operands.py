"""What a call reads: tensors of the graph and constants, each in its place."""

import inspect
from dataclasses import dataclass

import keras
import numpy as np

from dirac_keras.folding.refused import Refused
from dirac_keras.folding.rules.base import to_float64


@dataclass(frozen=True)
class Operand:
    """A tensor of the graph, or a constant.

    Args:
        tensor: its number in the graph; None for a constant.
        shape: tuple, None for a length that is not known.
        value: float64 array, the constant as the operation sees it; None for a tensor.
    """

    tensor: int | None
    shape: tuple
    value: np.ndarray | None = None


def arguments(call):
    """dict, name -> what the call got for it, as in the signature of `operation.call`."""
    return inspect.signature(call.operation.call).bind(*call.args, **call.kwargs).arguments


def operands(call, values):
    """`Operand` list of what a call got in one list; a tensor that was cut off is left out."""
    tensors = {id(slot): tensor for slot, tensor in zip(call.slots, call.inputs, strict=True)}
    found = []
    for value in values:
        if not isinstance(value, keras.KerasTensor):
            constant = _constant(value, call.output_dtypes[0])
            found.append(Operand(None, constant.shape, constant))
        elif id(value) in tensors:
            found.append(Operand(tensors[id(value)], tuple(value.shape)))
    return found


def _constant(value, dtype):
    """In the precision in which it is used."""
    if not keras.backend.is_float_dtype(dtype):
        raise Refused(f"computes in {dtype}")
    try:
        exact = np.asarray(value, "float64") if isinstance(value, (int, float, list, tuple)) else to_float64(value)
        value = to_float64(keras.ops.convert_to_tensor(exact, dtype=dtype))
    except Exception as error:  # of whatever kind: anything can stand in a call's arguments
        raise Refused("has an argument that is no number") from error
    if not np.isfinite(value).all():
        raise Refused("has a constant that is not finite")
    return value
