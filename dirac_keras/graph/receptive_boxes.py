"""Which pixels one position of a layer's output sees: followed back from the layer to the input, call by call."""

import math
from fractions import Fraction

import keras

from dirac_keras.graph.receptive_fields import ALL_POSITIONS, WINDOWS, interpolation_radius, is_pointwise

_UNKNOWN = None


def receptive_box(graph, tensor, position):
    """The part of the input that one position of a tensor is computed from.

    Where branches meet, the box holds all of them. It is not cut off at the border of the image: what lies outside is
    padding.

    Args:
        graph: `Graph` with known sizes, of a network with one input.
        tensor: number of a tensor `(batch, ..., channels)` or `(batch, channels, ...)`.
        position: tuple of int, one for each spatial axis.

    Returns: tuple of `(first, last)` pixel for each spatial axis; `"all"` behind whatever joins all positions; None
        behind a layer of unknown type.
    """
    seen = {tensor: [(place, place) for place in position]}
    for call in reversed(graph.calls):
        boxes = [seen.pop(output) for output in call.outputs if output in seen]
        if not boxes:
            continue
        inside = _inputs_box(call, _around(boxes))
        if inside is _UNKNOWN or inside == "all":
            return inside
        for source in call.inputs:
            seen[source] = _around([seen[source], inside]) if source in seen else inside
    box = seen.get(graph.inputs[0])
    return None if box is None else tuple(box)


def _around(boxes):
    return [(min(one[0] for one in axis), max(one[1] for one in axis)) for axis in zip(*boxes, strict=True)]


def _inputs_box(call, box):
    """The box of a call's inputs that a box of its output is computed from; as `receptive_box` returns it."""
    layer, axes = call.operation, len(box)
    if any(len(shape) != axes + 2 for shape in (*call.input_shapes, *call.output_shapes)):
        return "all" if type(layer) in ALL_POSITIONS else _UNKNOWN
    if type(layer) in ALL_POSITIONS:
        return "all"
    if isinstance(layer, _PADDINGS):
        return [(low - first, high - first) for (low, high), (first, _) in zip(box, _pairs(layer.padding), strict=True)]
    if isinstance(layer, _CROPPINGS):
        pairs = zip(box, _pairs(layer.cropping), strict=True)
        return [(low + first, high + first) for (low, high), (first, _) in pairs]
    if isinstance(layer, _UPSAMPLINGS):
        factors = (layer.size,) * axes if isinstance(layer.size, int) else layer.size
        radius = interpolation_radius(layer)
        return [_enlarged_from(*side, factor, radius) for side, factor in zip(box, factors, strict=True)]
    if type(layer) in WINDOWS and not isinstance(layer, _TRANSPOSED):
        taps, strides = WINDOWS[type(layer)](layer, axes)
        lengths = _spatial(call.input_shapes[0], layer)
        return [_window(*one, layer.padding) for one in zip(box, taps, strides, lengths, strict=True)]
    if is_pointwise(layer, axes):
        return list(box)
    return _UNKNOWN


def _window(box, taps, stride, length, padding):
    """One axis in front of a convolution or a pooling; padding as in TensorFlow's "SAME"."""
    before = 0
    if padding == "same":
        before = max((-(-length // stride) - 1) * stride + taps - length, 0) // 2
    elif padding == "causal":
        before = taps - 1
    return box[0] * stride - before, box[1] * stride - before + taps - 1


def _enlarged_from(low, high, factor, radius):
    """One axis in front of an enlargement: the pixels nearer than the radius to the first and the last position."""
    if not radius:
        return low // factor, high // factor
    first, last = (Fraction(2 * place + 1, 2 * factor) - Fraction(1, 2) for place in (low, high))  # centres of pixels
    return math.floor(first - radius) + 1, math.ceil(last + radius) - 1


def _spatial(shape, layer):
    return shape[2:] if getattr(layer, "data_format", None) == "channels_first" else shape[1:-1]


def _pairs(sides):
    """Keras' `padding` or `cropping` as a pair for each axis."""
    if isinstance(sides, int):
        return [(sides, sides)]
    if all(isinstance(side, int) for side in sides):  # of one axis
        return [tuple(sides)]
    return [tuple(side) for side in sides]


def _layers(kind):
    return tuple(getattr(keras.layers, f"{kind}{rank}D") for rank in (1, 2, 3))


_PADDINGS, _CROPPINGS, _UPSAMPLINGS = _layers("ZeroPadding"), _layers("Cropping"), _layers("UpSampling")
_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
