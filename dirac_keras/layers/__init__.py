"""Layers that train very deep networks without skip connections."""

from dirac_keras.layers.dirac import DiracConv1D, DiracConv2D, DiracConv3D, DiracDense
from dirac_keras.layers.gelu import Gelu
from dirac_keras.layers.normalization import BatchNormalization
from dirac_keras.layers.variable_skip import VariableSkip, add_variable_skip
from dirac_keras.layers.whitening import WhitenedConv2D

__all__ = [
    "BatchNormalization",
    "DiracConv1D",
    "DiracConv2D",
    "DiracConv3D",
    "DiracDense",
    "Gelu",
    "VariableSkip",
    "WhitenedConv2D",
    "add_variable_skip",
]
