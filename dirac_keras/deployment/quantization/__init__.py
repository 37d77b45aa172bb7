"""Quantization of a folded network: kernels on the grid of integers that a runtime will store, and what that costs."""

from dirac_keras.deployment.quantization.grids import signal_to_noise_db
from dirac_keras.deployment.quantization.rounding import METHODS, RoundedLayer, round_weights

__all__ = ["METHODS", "RoundedLayer", "round_weights", "signal_to_noise_db"]
