"""The rule of batch normalization, Keras' and this package's."""

import keras
import numpy as np

from dirac_keras.folding.rules.base import Rule, rule, to_float64
from dirac_keras.layers import BatchNormalization


@rule(keras.layers.BatchNormalization, BatchNormalization)
class BatchNormalizationRule(Rule):
    """`scale * x + shift` at inference, also with renorm; another one behind it merges into gamma, beta."""

    plain_class = keras.layers.BatchNormalization

    def read(self, layer):
        self.gamma = to_float64(layer.gamma) if layer.scale else None
        self.beta = to_float64(layer.beta) if layer.center else None
        self.statistics = [to_float64(variable) for variable in _statistics(layer)]

    def affine(self):
        """The scale and shift per channel at inference."""
        mean, variance = self.statistics[:2]
        scale = (1.0 if self.gamma is None else self.gamma) / np.sqrt(variance + self.layer.epsilon)
        return scale, (0.0 if self.beta is None else self.beta) - mean * scale

    def channel_axis(self, rank):
        return self.layer.axis % rank

    def absorb_output(self, scale, shift):
        self.gamma = scale * (1.0 if self.gamma is None else self.gamma)
        self.beta = shift + scale * (0.0 if self.beta is None else self.beta)
        self.has_new_kernel = True

    def refuses_input(self, shift):
        return "is a BatchNormalization"

    def config(self):
        config = super().config()
        del config["use_bias"]
        return {**config, "scale": self.gamma is not None, "center": self.beta is not None}

    def weights(self):
        return [value for value in (self.gamma, self.beta) if value is not None] + self.statistics


def _statistics(layer):
    names = ["moving_mean", "moving_variance"]
    if getattr(layer, "renorm", False):
        names += ["moving_stddev", "renorm_mean", "renorm_stddev"]
    return [getattr(layer, name) for name in names]
