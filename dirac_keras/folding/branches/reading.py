"""The `Window` of a call: convolutions, dense layers, pooling, padding, normalization, and what does nothing."""

import math
from dataclasses import replace

import keras
import numpy as np

from dirac_keras.folding.branches.window import Window
from dirac_keras.folding.misplaced import WHERE, adds_elsewhere
from dirac_keras.folding.passages import own_affine, passage_of
from dirac_keras.folding.passages.unchanged import Unchanged
from dirac_keras.folding.refused import Refused
from dirac_keras.folding.rules import (
    ConvRule,
    DenseRule,
    DepthwiseConvRule,
    EinsumDenseRule,
    SeparableConvRule,
    is_batch_normalization,
)

_ZERO_PADDINGS = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)
_CROPPINGS = (keras.layers.Cropping1D, keras.layers.Cropping2D, keras.layers.Cropping3D)
_AVERAGES = (keras.layers.AveragePooling1D, keras.layers.AveragePooling2D, keras.layers.AveragePooling3D)
_MAXIMA = (keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D)


class Inexact(Refused):
    """A linear layer that is no window: it treats borders in another way, or where it reads is not known."""


def window_of(call, rules, axis, with_activation=False):
    """The `Window` of a call of a linear layer.

    Args:
        call: `trace.Call`.
        rules: `Rules`, whose weights count, not those of the layer.
        axis: int, that of the channels.
        with_activation: bool, whether the layer may have an activation, which the window is without.

    Raises: Refused: if the call is not linear, or has its channels elsewhere. Inexact: if it is no window.
    """
    layer, rule = call.operation, rules.of(call.operation)
    if len(set(call.inputs)) != 1:
        raise Refused("reads several tensors")
    if channel_axis(call, rules) not in (axis, None):
        raise Refused(f"has its channels on axis {channel_axis(call, rules)}")
    if isinstance(rule, (ConvRule, DepthwiseConvRule)):
        return _of_convolution(call, rule, with_activation)
    if is_dense(rule):
        return _of_dense(call, rule, with_activation)
    if isinstance(rule, SeparableConvRule):
        return _of_separable(call, rule, with_activation)
    if is_batch_normalization(layer) and rule is not None and hasattr(rule, "affine"):
        return _of_normalization(call, rule, axis)
    if type(layer) in _ZERO_PADDINGS:
        return _of_padding(call, axis)
    if type(layer) in _CROPPINGS:
        return _of_cropping(call, axis)
    if type(layer) in _AVERAGES:
        return _of_pooling(call, axis)
    if type(layer) in _MAXIMA and all(size == 1 for size in layer.pool_size):
        return _of_pooling(call, axis)
    passage = passage_of(layer)
    if isinstance(passage, Unchanged):
        passage.check(call)
        return Window.identity(channels_of(call.output_shapes[0], axis), len(call.output_shapes[0]) - 2)
    return _of_constants(call, rules, axis)


def channel_axis(call, rules):
    """Axis of the channels of what a call gives, from 0; None where the layer says none."""
    layer, rank = call.operation, len(call.output_shapes[0])
    if getattr(layer, "data_format", None) is not None:
        return 1 if layer.data_format == "channels_first" else rank - 1
    rule = rules.of(layer)
    return rule.channel_axis(rank) if is_dense(rule) or is_batch_normalization(layer) else None


def is_dense(rule):
    """Whether the layer of a rule is a dense one, on the last axis: an `EinsumDense` may be."""
    return isinstance(rule, DenseRule) or (isinstance(rule, EinsumDenseRule) and rule.is_dense)


def channels_of(shape, axis):
    if shape[axis] is None:
        raise Refused("has an open number of channels")
    return shape[axis]


def padding_of(layer, sizes):
    """`(before, after)`, pixels of zeros that a convolution or pooling adds on each spatial axis.

    Args:
        sizes: sides of its input, None for those that are open.

    Raises: Refused: if that depends on an open side.
    """
    spans = spans_of(layer)
    if layer.padding == "valid":
        return (0,) * len(spans), (0,) * len(spans)
    if layer.padding == "causal":
        return tuple(span - 1 for span in spans), (0,) * len(spans)
    return same_padding(spans, layer.strides, sizes)


def same_padding(spans, strides, sizes):
    """`padding_of` a window of these spans and strides with padding="same"."""
    totals = []
    for span, stride, size in zip(spans, strides, sizes, strict=True):
        if span == 1 or stride == 1:
            totals.append(span - 1)
        elif size is None:
            raise Inexact("pads by the size of the image, which is open")
        else:
            totals.append(max((math.ceil(size / stride) - 1) * stride + span - size, 0))
    return tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)


def spans_of(layer):
    """Pixels from the first to the last tap, on each spatial axis."""
    sizes = getattr(layer, "kernel_size", None) or layer.pool_size
    dilation = getattr(layer, "dilation_rate", None) or (1,) * len(sizes)
    return tuple((size - 1) * rate + 1 for size, rate in zip(sizes, dilation, strict=True))


def sides_of(shape, axis):
    """The spatial lengths of a tensor of this shape."""
    return [length for place, length in enumerate(shape) if place not in (0, axis)]


def spread(kernel, dilation):
    """A kernel with the zeros that dilation puts between its taps."""
    spans = [(size - 1) * rate + 1 for size, rate in zip(kernel.shape, dilation, strict=False)]
    wide = np.zeros((*spans, *kernel.shape[-2:]))
    wide[tuple(slice(None, None, rate) for rate in dilation)] = kernel
    return wide


def _of_convolution(call, rule, with_activation):
    layer = call.operation
    _check_linear(call, rule, with_activation)
    axis = 1 if layer.data_format == "channels_first" else len(call.input_shapes[0]) - 1
    before, after = padding_of(layer, sides_of(call.input_shapes[0], axis))
    kernel, groups = rule.kernel, getattr(layer, "groups", 1)
    if isinstance(rule, DepthwiseConvRule):  # (*taps, in_channels, multiplier)
        groups = kernel.shape[-2]
        kernel = kernel.reshape(*kernel.shape[:-2], 1, -1)
    bias = np.zeros(kernel.shape[-1]) if rule.bias is None else rule.bias
    return Window(spread(kernel, layer.dilation_rate), bias, tuple(layer.strides), before, any(before + after), groups)


def _of_separable(call, rule, with_activation):
    """The depthwise kernel and the pointwise one as one of a convolution without groups."""
    layer = call.operation
    _check_linear(call, rule, with_activation)
    axis = 1 if layer.data_format == "channels_first" else len(call.input_shapes[0]) - 1
    before, after = padding_of(layer, sides_of(call.input_shapes[0], axis))
    pointwise = rule.pointwise.reshape(*rule.depthwise.shape[-2:], -1)  # (in_channels, multiplier, filters)
    kernel = np.einsum("...im,imo->...io", rule.depthwise, pointwise)
    bias = np.zeros(kernel.shape[-1]) if rule.bias is None else rule.bias
    return Window(spread(kernel, layer.dilation_rate), bias, tuple(layer.strides), before, any(before + after))


def _of_dense(call, rule, with_activation):
    _check_linear(call, rule, with_activation)
    rank = len(call.output_shapes[0]) - 2
    ones = (1,) * rank
    bias = np.zeros(rule.kernel.shape[-1]) if rule.bias is None else rule.bias.reshape(-1)
    return Window(rule.kernel.reshape(*ones, *rule.kernel.shape), bias, ones, (0,) * rank, False)


def _check_linear(call, rule, with_activation):
    if reason := rule.refuses_input(0.0) if with_activation else rule.refuses_output(0.0):
        raise Refused(reason)
    shape = call.output_shapes[0]
    if rule.bias is not None and adds_elsewhere(shape, rule.bias_shape(shape)):
        raise Refused(f"adds its bias along another axis than its channels ({WHERE})")


def _of_normalization(call, rule, axis):
    if call.training:
        raise Refused("is called with training=True and uses the batch's own statistics")
    rank = len(call.output_shapes[0])
    scale, shift = rule.affine()
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise Refused("has statistics or weights that are not finite")
    channels = channels_of(call.output_shapes[0], axis)
    return Window.scaling(np.broadcast_to(scale, channels), np.broadcast_to(shift, channels), rank - 2)


def _of_constants(call, rules, axis):
    """Of a factor, a divisor or a summand that is a number, or one for each channel."""
    affine = own_affine(call, rules)
    numbers = affine.along([axis], [channels_of(call.output_shapes[0], axis)])
    if numbers is None:
        raise Refused("has other numbers at other places")
    return Window.scaling(numbers.scale, numbers.shift, len(call.output_shapes[0]) - 2)


def pairs_of(pads):
    """`((before, after), ...)` of what a padding or cropping layer of one axis or several has."""
    return tuple(pads) if isinstance(pads[0], (tuple, list)) else (tuple(pads),)


def _of_cropping(call, axis):
    pads = pairs_of(call.operation.cropping)
    plain = Window.identity(channels_of(call.output_shapes[0], axis), len(pads))
    return replace(plain, before=tuple(-low for low, _ in pads))


def _of_padding(call, axis):
    pads = pairs_of(call.operation.padding)
    rank = len(pads)
    channels = channels_of(call.output_shapes[0], axis)
    before = tuple(low for low, _ in pads)
    plain = Window.identity(channels, rank)
    return Window(plain.kernel, plain.bias, plain.strides, before, any(map(any, pads)), channels)


def _of_pooling(call, axis):
    layer = call.operation
    before, after = padding_of(layer, sides_of(call.input_shapes[0], axis))
    if any(before + after):
        raise Inexact("averages over fewer pixels at the borders (padding='same')")
    channels, taps = channels_of(call.output_shapes[0], axis), tuple(layer.pool_size)
    kernel = np.full((*taps, 1, channels), 1.0 / math.prod(taps))
    return Window(kernel, np.zeros(channels), tuple(layer.strides), before, False, channels)
