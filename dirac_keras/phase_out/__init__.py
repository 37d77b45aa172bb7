"""Taking the skips of a network out while it trains, or bounding the identity in its kernels."""

from dirac_keras.models.van import FRACTIONS
from dirac_keras.phase_out.callback import SkipPhaseOut
from dirac_keras.phase_out.identity import IdentityBound
from dirac_keras.phase_out.monitor import SkipMonitor, SkipTrace
from dirac_keras.phase_out.residual import TOLERANCE, SkipState, find_skips, mean_residual, measure_skips, seal_skips

__all__ = [
    "FRACTIONS",
    "TOLERANCE",
    "IdentityBound",
    "SkipMonitor",
    "SkipPhaseOut",
    "SkipState",
    "SkipTrace",
    "find_skips",
    "mean_residual",
    "measure_skips",
    "seal_skips",
]
