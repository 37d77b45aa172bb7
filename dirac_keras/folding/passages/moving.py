"""Operations that move every element to one place: transposition, other shapes, mirroring, repetition."""

import functools
import math

import keras
import numpy as np

from dirac_keras.folding.passages.registry import OneToOne, passes
from dirac_keras.folding.refused import Refused


class Transposed(OneToOne):
    """
    Args:
        axes: function, call -> for each axis of the output the one of the input.
    """

    def __init__(self, axes):
        self._axes = axes

    def before(self, call, affine):
        return affine.map(lambda array: array.transpose(np.argsort(self._axes(call))))

    def behind(self, call, affine):
        return affine.map(lambda array: array.transpose(self._axes(call)))


class Reshaped(OneToOne):
    def before(self, call, affine):
        return _reshaped(affine, call.output_shapes[0], call.input_shapes[0])

    def behind(self, call, affine):
        return _reshaped(affine, call.input_shapes[0], call.output_shapes[0])


class Flattened(Reshaped):
    """With "channels_first", the channels are moved behind first."""

    def before(self, call, affine):
        order = self._order(call)
        affine = _reshaped(affine, call.output_shapes[0], [call.input_shapes[0][axis] for axis in order])
        return affine.map(lambda array: array.transpose(np.argsort(order)))

    def behind(self, call, affine):
        order = self._order(call)
        affine = affine.map(lambda array: array.transpose(order))
        return _reshaped(affine, [call.input_shapes[0][axis] for axis in order], call.output_shapes[0])

    def _order(self, call):
        rank = len(call.input_shapes[0])
        is_first = call.operation.data_format == "channels_first" and rank > 1
        return [0, *range(2, rank), 1] if is_first else list(range(rank))


class Expanded(OneToOne):
    """New axes of length 1.

    Args:
        axes: function, call -> the new axes, counted in the output.
    """

    def __init__(self, axes):
        self._axes = axes

    def before(self, call, affine):
        if affine.differs_along(self._new(call)):
            raise Refused("repeats what is then scaled or shifted by different numbers")
        return affine.map(lambda array: np.squeeze(array, self._new(call)))

    def behind(self, call, affine):
        return affine.map(lambda array: np.expand_dims(array, self._new(call)))

    def _new(self, call):
        return _from_zero(self._axes(call), len(call.output_shapes[0]))


class Squeezed(OneToOne):
    def before(self, call, affine):
        return affine.map(lambda array: np.expand_dims(array, self._axes(call)))

    def behind(self, call, affine):
        return affine.map(lambda array: np.squeeze(array, self._axes(call)))

    def _axes(self, call):
        shape, axis = call.input_shapes[0], call.operation.axis
        if axis is None:
            return tuple(place for place, length in enumerate(shape) if length == 1)
        return _from_zero(axis, len(shape))


class Mirrored(OneToOne):
    def before(self, call, affine):
        return affine.map(lambda array: np.flip(array, call.operation.axis))

    behind = before


def _from_zero(axis, rank):
    return tuple(one % rank for one in ([axis] if isinstance(axis, int) else axis))


def _reshaped(affine, old, new):
    """The affine of a tensor of shape `old` for the same numbers in the shape `new`; None is a length not known.

    The order of the elements stays. So all that counts is the block of axes, from the first along which something
    differs to the last, that has as many elements in both shapes.
    """
    differing = [axis for axis, length in enumerate(affine.scale.shape) if length > 1]
    if not differing:
        return affine.map(lambda array: array.reshape([1] * len(new)))
    behind = 0  # equal axes at the end: their lengths need not be known in what is before
    while behind < min(len(old), len(new)) and old[-1 - behind] == new[-1 - behind] is not None:
        behind += 1
    for start in range(min(differing[0], len(old) - behind), -1, -1):
        for place in range(len(new) - behind, -1, -1):
            size = _size(old[start : len(old) - behind])
            if size is not None and size == _size(new[place : len(new) - behind]):
                return affine.map(functools.partial(_moved, old=old, new=new, start=start, place=place, behind=behind))
    raise Refused("moves the channels")


def _moved(array, old, new, start, place, behind):
    last = array.shape[len(old) - behind :]
    block = np.broadcast_to(array.reshape(array.shape[start:]), (*old[start : len(old) - behind], *last))
    return block.reshape([1] * place + list(new[place : len(new) - behind]) + list(last))


def _size(lengths):
    return None if None in lengths else math.prod(lengths)


def _axes_of_transpose(call):
    rank, axes = len(call.input_shapes[0]), call.operation.axes
    return list(range(rank))[::-1] if axes is None else [axis % rank for axis in axes]


def _permuted(change):
    """The order of axes that `change(array, operation)` makes."""

    def axes(call):
        rank = len(call.input_shapes[0])
        moved = change(np.empty(range(2, rank + 2)), call.operation)
        return [length - 2 for length in moved.shape]

    return axes


passes(Transposed(_axes_of_transpose), "Transpose")
passes(Transposed(lambda call: [0, *call.operation.dims]), keras.layers.Permute)
passes(Transposed(_permuted(lambda array, op: np.swapaxes(array, op.axis1, op.axis2))), "Swapaxes")
passes(Transposed(_permuted(lambda array, op: np.moveaxis(array, op.source, op.destination))), "Moveaxis")
passes(Reshaped(), keras.layers.Reshape, "Reshape", "Ravel")
passes(Flattened(), keras.layers.Flatten)
passes(Expanded(lambda call: call.operation.axis), "ExpandDims")
passes(Expanded(lambda call: 1), keras.layers.RepeatVector)
passes(Squeezed(), "Squeeze")
passes(Mirrored(), "Flip")
