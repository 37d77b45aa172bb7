"""How a scale and a shift get through `f(x1, x2, ...) = a1 x1 + a2 x2 + ... + constant` and through products."""

from collections import Counter

import keras
import numpy as np

from dirac_keras.folding.affine import Affine
from dirac_keras.folding.passages.registry import Passage
from dirac_keras.folding.refused import Refused

_LARGE = 1e3  # beside it, float32 keeps four digits of what is about 1
_MUCH_LARGER = 10.0


class Linear(Passage):
    """`f(scale * x + shift) = scale * f(x) + another shift`, whatever the constants in f.

    Args:
        terms: function, call -> `[(operand, factor)]`; a factor is a number or an array.
    """

    def __init__(self, terms):
        self._terms = terms

    def backward(self, call, index, affine):
        # Each summand takes the scale, one of them the shift: whichever can.
        shapes, factors, constant = self._read(call)
        shift = _moved(affine, constant)
        takers = list(factors) if np.any(shift != 0.0) else [None]

        def alternative(taker):
            return [
                (tensor, _for_operand(Affine(affine.scale, _divided(shift, factors[tensor], tensor == taker)), shape))
                for tensor, shape in shapes.items()
            ]

        return _possible(alternative, takers)

    def forward(self, call, affines):
        shapes, factors, constant = self._read(call)
        rank = len(call.output_shapes[0])
        lifted = {
            tensor: affines[tensor].map(shape.lift) if tensor in affines else Affine.identity(rank)
            for tensor, shape in shapes.items()
        }
        scale, *others = [affine.scale for affine in lifted.values()]
        if not all(np.array_equal(scale, other) for other in others):
            raise Refused("adds tensors that have not the same scale")
        shift = sum(factors[tensor] * affine.shift for tensor, affine in lifted.items())
        return [(call.outputs[0], Affine(scale, shift - _moved(Affine(scale, np.zeros_like(scale)), constant)))]

    def own(self, call):
        """The `Affine` that f itself is. Raises: Refused: if it reads several tensors, or broadcasts its own."""
        shapes, factors, constant = self._read(call)
        rank = len(call.output_shapes[0])
        if len(shapes) != 1:
            raise Refused("reads several tensors")
        ((tensor, shape),) = shapes.items()
        if shape.lengths != tuple(call.output_shapes[0]):
            raise Refused("gives a tensor of another shape")
        return Affine(aligned(factors[tensor], rank), constant)

    def _read(self, call):
        """`Shape` and factor of each tensor, and the constant: arrays of the output's rank."""
        rank = len(call.output_shapes[0])
        shapes, factors, constant = {}, Counter(), np.zeros([1] * rank)
        for operand, factor in self._terms(call):
            shape = Shape(operand.shape, rank, isinstance(call.operation, keras.layers.Layer))
            factor = aligned(factor, rank)
            if operand.tensor is None:
                constant = constant + factor * shape.lift(operand.value)
            elif operand.tensor in shapes and shapes[operand.tensor].lengths != shape.lengths:
                raise Refused("reads a tensor twice in two shapes")
            else:
                shapes[operand.tensor], factors[operand.tensor] = shape, factors[operand.tensor] + factor
        return shapes, factors, constant


def _moved(affine, constant):
    """`scale * (x + constant) + shift = (scale * x + what this returns) + constant`."""
    scale, shift = affine.scale, affine.shift
    present = np.maximum(np.abs(scale * constant), np.abs(shift))
    if np.any(np.abs((scale - 1.0) * constant) > np.maximum(_MUCH_LARGER * present, _LARGE)):
        raise Refused("has a constant so large that the shift would lose its digits beside it")
    return scale * constant + shift - constant


class Shape:
    """How an operand of fewer axes meets the others: new axes in front, in merging layers behind the batch."""

    def __init__(self, lengths, rank, is_layer):
        self.lengths = tuple(lengths)
        self.missing = rank - len(self.lengths)
        self.place = 1 if is_layer and self.lengths else 0

    def lift(self, array):
        """An array of the operand's rank, in that of the output."""
        return np.expand_dims(array, tuple(range(self.place, self.place + self.missing)))

    def lower(self, array):
        return np.squeeze(array, tuple(range(self.place, self.place + self.missing)))

    @property
    def lifted(self):
        return (*self.lengths[: self.place], *[1] * self.missing, *self.lengths[self.place :])


def _for_operand(affine, shape):
    """The affine of the output as one of an operand that may be broadcast."""
    if any(length in (1, None) and affine.differs_along([axis]) for axis, length in enumerate(shape.lifted)):
        raise Refused("broadcasts a tensor along an axis on which the scale or the shift differs")
    return affine.map(shape.lower)


def _divided(shift, factor, is_taker):
    if not is_taker:
        return np.zeros_like(shift)
    shift, factor = np.broadcast_arrays(shift, factor)
    if np.any((factor == 0.0) & (shift != 0.0)):
        raise Refused("multiplies by zero, behind which no shift can be put in")
    return np.divide(shift, factor, out=np.zeros_like(shift), where=factor != 0.0)


def aligned(factor, rank):
    factor = np.asarray(factor, "float64")
    return factor.reshape([1] * (rank - factor.ndim) + list(factor.shape))


class Product(Passage):
    """A product of tensors and constants: linear with one tensor, else the scale alone gets through."""

    def __init__(self, factors):
        self._factors, self._linear = factors, Linear(_multiple(factors))

    def backward(self, call, index, affine):
        if len(call.inputs) == 1:
            return self._linear.backward(call, index, affine)
        shapes = self._shapes(call, affine)
        return _possible(lambda tensor: [(tensor, _for_operand(affine, shapes[tensor]))], shapes)

    def forward(self, call, affines):
        if len(call.inputs) == 1:
            return self._linear.forward(call, affines)
        scale = 1.0
        for tensor, affine in affines.items():
            scale = scale * self._shapes(call, affine)[tensor].lift(affine.scale)
        return [(call.outputs[0], Affine(scale, np.zeros_like(scale)))]

    def own(self, call):
        """The `Affine` that f itself is. Raises: Refused: if it reads several tensors, or broadcasts its own."""
        if len(call.inputs) != 1:
            raise Refused("reads several tensors")
        return self._linear.own(call)

    def _shapes(self, call, affine):
        if affine.has_shift():
            raise Refused("multiplies tensors, and the shift does not get through")
        if len(set(call.inputs)) != len(call.inputs):
            raise Refused("multiplies a tensor by itself")
        rank, is_layer = len(call.output_shapes[0]), isinstance(call.operation, keras.layers.Layer)
        tensors = [operand for operand in self._factors(call) if operand.tensor is not None]
        return {operand.tensor: Shape(operand.shape, rank, is_layer) for operand in tensors}


def _possible(alternative, choices):
    """The alternatives of those choices that are not refused."""
    found, reasons = [], []
    for choice in choices:
        try:
            found.append(alternative(choice))
        except Refused as refused:
            reasons.append(refused)
    if not found:
        raise reasons[0]
    return found


def _multiple(read):
    def terms(call):
        factor, tensor = 1.0, None
        rank, is_layer = len(call.output_shapes[0]), isinstance(call.operation, keras.layers.Layer)
        for operand in read(call):
            if operand.tensor is None:
                factor = factor * Shape(operand.shape, rank, is_layer).lift(operand.value)
            else:
                tensor = operand
        return [(tensor, factor)]

    return terms
