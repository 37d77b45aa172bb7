"""The rule of the whitened convolution: its kernel in a plain one."""

import keras

from dirac_keras.folding.rules.base import rule
from dirac_keras.folding.rules.kernels import ConvRule
from dirac_keras.layers import WhitenedConv2D


@rule(WhitenedConv2D)
class WhitenedConv2DRule(ConvRule):
    plain_class = keras.layers.Conv2D

    def why_not_plain(self, shape):
        """Nothing: the layer computes its output as its class does, it only keeps the kernel from training."""

    def config(self):
        return {key: value for key, value in super().config().items() if key != "epsilon"}
