"""Operations that cut pieces out of a tensor, and those that join tensors."""

import keras
import numpy as np

from dirac_keras.folding.affine import Affine
from dirac_keras.folding.passages.operands import arguments, operands
from dirac_keras.folding.passages.registry import Passage, passes
from dirac_keras.folding.refused import Refused


class Cut(Passage):
    """Pieces `x[key]`, one for each output.

    Args:
        key: function, call and index of the output -> tuple of slices, integers and None (a new axis).
    """

    def __init__(self, key):
        self._key = key

    def backward(self, call, index, affine):
        shape = _single(call)
        key = _every_axis(self._key(call, index), len(shape))
        arrays = []
        for array, empty in ((affine.scale, 1.0), (affine.shift, 0.0)):
            arrays.append(_put_back(array, key, shape, empty, leaves_others=len(call.outputs) > 1))
        return [[(call.inputs[0], Affine(*arrays))]]

    def forward(self, call, affines):
        shape = _single(call)
        return [
            (tensor, affines[call.inputs[0]].map(lambda array, index=index: self._piece(call, index, array, shape)))
            for index, tensor in enumerate(call.outputs)
        ]

    def _piece(self, call, index, array, shape):
        lengths = iter(array.shape)
        key = []
        for part in _every_axis(self._key(call, index), len(shape)):
            is_one = part is not None and next(lengths) == 1  # the same everywhere along the axis
            key.append((0 if isinstance(part, int) else slice(None)) if is_one else part)
        return array[tuple(key)]


def _single(call):
    if len(call.inputs) != 1:
        raise Refused("is cut at a place that another tensor says")
    return call.input_shapes[0]


def _every_axis(key, rank):
    """The key without an ellipsis, with a part for each axis."""
    key = list(key) if isinstance(key, (tuple, list)) else [key]
    places = [place for place, part in enumerate(key) if part is Ellipsis]
    missing = [slice(None)] * (rank - sum(part is not None and part is not Ellipsis for part in key))
    place = places[0] if places else len(key)
    return [*key[:place], *missing, *key[place + 1 :]]


def _put_back(array, key, shape, empty, leaves_others):
    """The array in the place from which `key` takes it; `empty` elsewhere."""
    axis = 0  # of the array that is made from the piece's into the whole's
    for part in key:
        if part is None:
            array = array.squeeze(axis)
            continue
        if isinstance(part, int):
            array = np.expand_dims(array, axis)
        is_whole = isinstance(part, slice) and part == slice(None)
        if not is_whole and (leaves_others or array.shape[axis] > 1):
            if shape[axis] is None:
                raise Refused("cuts an axis of unknown length")
            taken = range(shape[axis])[slice(part, part + 1 or None) if isinstance(part, int) else part]
            whole = np.full([*array.shape[:axis], shape[axis], *array.shape[axis + 1 :]], empty)
            whole[(*[slice(None)] * axis, list(taken))] = array
            array = whole
        axis += 1
    return array


class Joined(Passage):
    """Concatenation along an axis."""

    def backward(self, call, index, affine):
        axis = self._axis(call)
        pieces, start = [], 0
        for operand in self._operands(call):
            part = affine
            if affine.differs_along([axis]):
                length = self._length(operand, axis)
                part = affine.map(lambda array, s=start, e=start + length: array[(*[slice(None)] * axis, slice(s, e))])
                start += length
            if operand.tensor is not None:
                pieces.append((operand.tensor, part.map(self._lower(axis))))
            elif not part.is_identity():
                raise Refused("joins a constant, which would have to be scaled and shifted too")
        return [pieces]

    def forward(self, call, affines):
        axis, rank = self._axis(call), len(call.output_shapes[0])
        found = self._operands(call)
        parts = [
            affines[operand.tensor].map(self._lift(axis)) if operand.tensor in affines else Affine.identity(rank)
            for operand in found
        ]
        if all(part.has_same_numbers(parts[0]) for part in parts) and not parts[0].differs_along([axis]):
            return [(call.outputs[0], parts[0])]
        lengths = [self._length(operand, axis) for operand in found]
        return [(call.outputs[0], Affine(*(_joined(arrays, lengths, axis) for arrays in _arrays(parts))))]

    def _operands(self, call):
        given = arguments(call)
        return operands(call, next(iter(given.values())))

    def _axis(self, call):
        return call.operation.axis % len(call.output_shapes[0])

    def _length(self, operand, axis):
        if operand.shape[axis] is None:
            raise Refused("joins pieces of unknown length")
        return operand.shape[axis]

    def _lift(self, axis):
        return lambda array: array

    _lower = _lift


class Stacked(Joined):
    """Concatenation along a new axis."""

    def _length(self, operand, axis):
        return 1

    def _lift(self, axis):
        return lambda array: np.expand_dims(array, axis)

    def _lower(self, axis):
        return lambda array: np.squeeze(array, axis)


def _arrays(affines):
    return [affine.scale for affine in affines], [affine.shift for affine in affines]


def _joined(arrays, lengths, axis):
    common = np.broadcast_shapes(*((*array.shape[:axis], 1, *array.shape[axis + 1 :]) for array in arrays))
    return np.concatenate(
        [
            np.broadcast_to(array, (*common[:axis], length, *common[axis + 1 :]))
            for array, length in zip(arrays, lengths, strict=True)
        ],
        axis,
    )


def _key_of_item(call, index):
    return arguments(call)["key"]


def _key_of_split(call, index):
    shape, operation = call.input_shapes[0], call.operation
    axis = operation.axis % len(shape)
    stops = operation.indices_or_sections
    if isinstance(stops, int):
        if shape[axis] is None:
            return [slice(None)] * axis + [slice(0, None)]  # good for what is the same along the axis
        stops = [shape[axis] // stops * place for place in range(1, stops)]
    edges = [0, *(int(stop) for stop in stops), None]
    return [slice(None)] * axis + [slice(edges[index], edges[index + 1])]


def _key_of_unstack(call, index):
    return [slice(None)] * (call.operation.axis % len(call.input_shapes[0])) + [index]


def _key_of_cropping(call, index):
    cropping = call.operation.cropping
    cropping = [cropping] if isinstance(cropping[0], int) else cropping
    parts = [slice(start, -stop or None) if start or stop else slice(None) for start, stop in cropping]
    is_first = getattr(call.operation, "data_format", "channels_last") == "channels_first"
    return [slice(None), *([slice(None)] if is_first else []), *parts]


passes(Cut(_key_of_item), "GetItem")
passes(Cut(_key_of_split), "Split")
passes(Cut(_key_of_unstack), "Unstack")
passes(Cut(_key_of_cropping), keras.layers.Cropping1D, keras.layers.Cropping2D, keras.layers.Cropping3D)
passes(Joined(), keras.layers.Concatenate, "Concatenate")
passes(Stacked(), "Stack")
