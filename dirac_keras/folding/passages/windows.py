"""Operations that work along some axes, each channel by itself: pooling, means, maxima, upsampling, padding."""

import math

import keras
import numpy as np

from dirac_keras.folding.passages.operands import arguments
from dirac_keras.folding.passages.registry import OneToOne, passes
from dirac_keras.folding.refused import Refused


class AlongAxes(OneToOne):
    """f mixes positions along some axes with weights of sum 1: nothing may differ along them."""

    def axes(self, call):
        """The axes, from 0."""
        return _spatial(call)

    def before(self, call, affine):
        self.check_affine(call, affine)
        return affine

    behind = before

    def check_affine(self, call, affine):
        if affine.differs_along(self.axes(call)):
            along = ", ".join(str(axis) for axis in self.axes(call) if affine.differs_along([axis]))
            raise Refused(f"works across axis {along}, on which the scale or the shift differs")


class Maximum(AlongAxes):
    """The largest or the smallest of a window."""

    def check_affine(self, call, affine):
        super().check_affine(call, affine)
        if np.any(affine.scale < 0.0):
            raise Refused("takes a maximum, which a negative scale would turn into a minimum")


class UpSampling(AlongAxes):
    def check(self, call):
        super().check(call)
        interpolation = getattr(call.operation, "interpolation", "nearest")
        if interpolation not in ("nearest", "bilinear"):
            raise Refused(f"interpolates ({interpolation})")


class ZeroPadding(AlongAxes):
    def check_affine(self, call, affine):
        super().check_affine(call, affine)
        if affine.has_shift():
            raise Refused("pads with zeros, which the shift would have to reach too")


class Pad(ZeroPadding):
    """`ops.pad`; other modes than "constant" copy what is there."""

    def axes(self, call):
        widths, rank = call.operation.pad_width, len(call.input_shapes[0])
        widths = list(widths) * rank if len(widths) == 1 else widths
        return [axis for axis, width in enumerate(widths) if any(width)]

    def check(self, call):
        super().check(call)
        if call.operation.mode == "constant" and np.any(arguments(call).get("constant_values")):
            raise Refused("pads with another number than zero")

    def check_affine(self, call, affine):
        if call.operation.mode == "constant":
            super().check_affine(call, affine)
        else:
            AlongAxes.check_affine(self, call, affine)


class Reduced(AlongAxes):
    """A mean: the axes are gone behind it, or of length 1."""

    def before(self, call, affine):
        if len(call.output_shapes[0]) < len(call.input_shapes[0]):
            affine = affine.map(lambda array: np.expand_dims(array, tuple(self.axes(call))))
        self.check_affine(call, affine)
        return affine

    def behind(self, call, affine):
        self.check_affine(call, affine)
        if len(call.output_shapes[0]) < len(call.input_shapes[0]):
            affine = affine.map(lambda array: np.squeeze(array, tuple(self.axes(call))))
        return affine


class ReducedMaximum(Reduced, Maximum):
    """The largest or the smallest along axes."""


class _OnGivenAxes:
    """For raw operations with an argument `axis`."""

    def axes(self, call):
        axis, rank = call.operation.axis, len(call.input_shapes[0])
        if axis is None:
            return list(range(rank))
        return sorted(one % rank for one in ([axis] if isinstance(axis, int) else axis))

    def check(self, call):
        super().check(call)
        if getattr(call.operation, "initial", None) is not None:
            raise Refused("has an argument `initial`")


class MeanOnAxes(_OnGivenAxes, Reduced):
    pass


class MaximumOnAxes(_OnGivenAxes, ReducedMaximum):
    pass


class SumOnAxes(MeanOnAxes):
    """As the mean, but the shift counts as often as there are summands."""

    def before(self, call, affine):
        return super().before(call, affine.times_shift(1.0 / self._count(call)))

    def behind(self, call, affine):
        return super().behind(call, affine.times_shift(self._count(call)))

    def _count(self, call):
        lengths = [call.input_shapes[0][axis] for axis in self.axes(call)]
        if None in lengths:
            raise Refused("sums up along an axis of unknown length")
        return math.prod(lengths)


def _spatial(call):
    rank = len(call.input_shapes[0])
    data_format = getattr(call.operation, "data_format", "channels_last") or keras.config.image_data_format()
    return list(range(2, rank)) if data_format == "channels_first" else list(range(1, rank - 1))


def _layers(*names):
    """Keras' layers of these names with 1D, 2D, 3D behind them, as far as there are such."""
    return [getattr(keras.layers, f"{name}{rank}D", None) for name in names for rank in (1, 2, 3)]


passes(AlongAxes(), *_layers("AveragePooling", "AdaptiveAveragePooling"), "AveragePool", "AdaptiveAveragePool")
passes(Maximum(), *_layers("MaxPooling", "AdaptiveMaxPooling"), "MaxPool", "AdaptiveMaxPool")
passes(Reduced(), *_layers("GlobalAveragePooling"))
passes(ReducedMaximum(), *_layers("GlobalMaxPooling"))
passes(UpSampling(), *_layers("UpSampling"))
passes(ZeroPadding(), *_layers("ZeroPadding"))
passes(Pad(), "Pad")
passes(MeanOnAxes(), "Mean")
passes(MaximumOnAxes(), "Max", "Amax", "Min", "Amin")
passes(SumOnAxes(), "Sum")
