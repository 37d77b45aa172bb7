"""Taking the skips of a network out while it trains, or the identity of its kernels."""

from dirac_keras.models.van import FRACTIONS
from dirac_keras.phase_out.callback import SkipPhaseOut
from dirac_keras.phase_out.decay import IdentityDecay
from dirac_keras.phase_out.dissolving import DissolveIdentity, dissolve_identity
from dirac_keras.phase_out.identity import IdentityBound
from dirac_keras.phase_out.monitor import SkipMonitor, SkipTrace
from dirac_keras.phase_out.multipliers import IdentityPhaseOut, seal_identities
from dirac_keras.phase_out.residual import TOLERANCE, SkipState, find_skips, mean_residual, measure_skips, seal_skips

__all__ = [
    "FRACTIONS",
    "TOLERANCE",
    "DissolveIdentity",
    "IdentityBound",
    "IdentityDecay",
    "IdentityPhaseOut",
    "SkipMonitor",
    "SkipPhaseOut",
    "SkipState",
    "SkipTrace",
    "dissolve_identity",
    "find_skips",
    "mean_residual",
    "measure_skips",
    "seal_identities",
    "seal_skips",
]
