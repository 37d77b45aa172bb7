"""Sums, differences, means and multiples: which operations they are, and their factors and constants."""

import keras
import numpy as np

from dirac_keras.folding.misplaced import WHERE, adds_elsewhere
from dirac_keras.folding.passages.elementwise import Linear, Product, Shape, aligned
from dirac_keras.folding.passages.operands import Operand, arguments, operands
from dirac_keras.folding.passages.registry import passes
from dirac_keras.folding.refused import Refused
from dirac_keras.folding.rules.rescaling import scale_and_offset


def _listed(call):
    return operands(call, arguments(call)["inputs"])


def _pair(call):
    given = arguments(call)
    return operands(call, [given["x1"], given["x2"]])


def _with_factors(terms):
    """The terms of a call as it is; where it has become a sum with factors of its own, those."""

    def found(call):
        if call.factors is None:
            return terms(call)
        operands_ = zip(call.inputs, call.input_shapes, call.factors, strict=True)
        return [(Operand(tensor, shape), factor) for tensor, shape, factor in operands_]

    return found


def _sum(read):
    def terms(call):
        summands = read(call)
        _check_added(call, summands)
        return [(operand, 1.0) for operand in summands]

    return terms


def _check_added(call, summands):
    rank, is_layer = len(call.output_shapes[0]), isinstance(call.operation, keras.layers.Layer)
    shapes = [Shape(operand.shape, rank, is_layer).lifted if is_layer else operand.shape for operand in summands]
    for place in range(1, len(shapes)):
        if adds_elsewhere(_broadcast(shapes[:place]), shapes[place]):
            raise Refused(f"adds along another axis than the shapes say ({WHERE})")


def _broadcast(shapes):
    rank = max(len(shape) for shape in shapes)
    columns = zip(*((1,) * (rank - len(shape)) + tuple(shape) for shape in shapes), strict=True)
    return tuple(next((length for length in column if length != 1), 1) for column in columns)


def _difference(read):
    return lambda call: list(zip(read(call), (1.0, -1.0), strict=True))


def _mean(call):
    summands = _listed(call)
    _check_added(call, summands)
    return [(operand, 1.0 / len(summands)) for operand in summands]


def _negative(call):
    return [(operand, -1.0) for operand in operands(call, [arguments(call)["x"]])]


def _rescaled(call):
    scale, offset = scale_and_offset(call.operation)
    offset = aligned(offset, len(call.output_shapes[0]))
    return [(operands(call, call.slots)[0], scale), (Operand(None, offset.shape, offset), 1.0)]


def _quotient(call):
    numerator, divisor = _pair(call)
    if divisor.tensor is not None:
        raise Refused("divides by a tensor")
    if np.any(divisor.value == 0.0):
        raise Refused("divides by zero")
    return [(numerator, 1.0 / divisor.value)]


passes(Linear(_with_factors(_sum(_listed))), keras.layers.Add)
passes(Linear(_with_factors(_sum(_pair))), "Add")
passes(Linear(_with_factors(_difference(_listed))), keras.layers.Subtract)
passes(Linear(_with_factors(_difference(_pair))), "Subtract")
passes(Linear(_with_factors(_mean)), keras.layers.Average)
passes(Linear(_negative), "Negative")
passes(Linear(_quotient), "Divide", "TrueDivide")
passes(Product(_listed), keras.layers.Multiply)
passes(Product(_pair), "Multiply")
passes(Linear(_rescaled), keras.layers.Rescaling, keras.layers.Normalization)
