"""The rules of normalization layers: what they scale and shift by behind what they normalize."""

import keras
import numpy as np

from dirac_keras.folding.rules.base import Rule, rule, to_float64
from dirac_keras.layers import BatchNormalization


class GammaBetaRule(Rule):
    """`gamma * normalized(x) + beta`."""

    def read(self, layer):
        self.gamma = to_float64(layer.gamma) if layer.scale else None
        self.beta = to_float64(layer.beta) if layer.center else None

    def refuses_input(self, shift):
        return "normalizes what it reads"

    def absorb_output(self, scale, shift):
        self.gamma = scale * (1.0 if self.gamma is None else self.gamma)
        self.beta = shift + scale * (0.0 if self.beta is None else self.beta)
        self.has_new_kernel = True

    def config(self):
        return {**super().config(), "scale": self.gamma is not None, "center": self.beta is not None}

    def weights(self):
        return [value for value in (self.gamma, self.beta) if value is not None]


@rule(keras.layers.BatchNormalization, BatchNormalization)
class BatchNormalizationRule(GammaBetaRule):
    """`scale * x + shift` at inference, also with renorm; another one on either side merges into gamma, beta."""

    plain_class = keras.layers.BatchNormalization
    differs_in_training = True

    def read(self, layer):
        super().read(layer)
        self.statistics = [to_float64(variable) for variable in _statistics(layer)]

    def affine(self):
        """The scale and shift per channel at inference; not finite where the statistics are none."""
        mean, variance = self.statistics[:2]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            scale = (1.0 if self.gamma is None else self.gamma) / np.sqrt(variance + self.layer.epsilon)
            return scale, (0.0 if self.beta is None else self.beta) - mean * scale

    def channel_axis(self, rank):
        return self.layer.axis % rank

    def refuses_output(self, shift):
        return super().refuses_output(shift) or self._not_finite()

    def refuses_input(self, shift):
        return self._not_finite()

    def why_not_plain(self, shape):
        return None

    def absorb_input(self, scale, shift):
        mean, variance = self.statistics[:2]
        gamma = 1.0 if self.gamma is None else self.gamma
        moved = gamma * (shift - mean + scale * mean) / np.sqrt(variance + self.layer.epsilon)
        self.beta = moved + (0.0 if self.beta is None else self.beta)
        self.gamma = gamma * scale
        self.has_new_kernel = True

    def weights(self):
        return super().weights() + self.statistics

    def _not_finite(self):
        is_finite = all(np.isfinite(values).all() for values in (*self.statistics, *self.affine()))
        return None if is_finite else "has statistics or weights that are not finite"


@rule(keras.layers.GroupNormalization)
class GroupNormalizationRule(GammaBetaRule):
    """One gamma and beta per channel."""

    def channel_axis(self, rank):
        return self.layer.axis % rank


@rule(keras.layers.LayerNormalization)
class LayerNormalizationRule(GammaBetaRule):
    """A gamma and a beta for each position on the axes along which it normalizes."""

    def fit(self, affine, shape, side):
        return self.along(_axes(self.layer, len(shape)), affine, shape)

    def refuses_output(self, shift):
        return "scales by its variance (rms_scaling)" if self.layer.rms_scaling else super().refuses_output(shift)


@rule(getattr(keras.layers, "RMSNormalization", None))
class RMSNormalizationRule(Rule):
    """It has a scale and no shift."""

    def read(self, layer):
        self.scale = to_float64(layer.scale)

    def fit(self, affine, shape, side):
        return self.along(_axes(self.layer, len(shape)), affine, shape)

    def refuses_output(self, shift):
        return "has no weight for a shift" if np.any(shift != 0) else super().refuses_output(shift)

    def refuses_input(self, shift):
        return "normalizes what it reads"

    def absorb_output(self, scale, shift):
        self.scale = self.scale * scale
        self.has_new_kernel = True

    def weights(self):
        return [self.scale]


def _axes(layer, rank):
    return [axis % rank for axis in layer.axis]


def _statistics(layer):
    names = ["moving_mean", "moving_variance"]
    if getattr(layer, "renorm", False):
        names += ["moving_stddev", "renorm_mean", "renorm_stddev"]
    return [getattr(layer, name) for name in names]
