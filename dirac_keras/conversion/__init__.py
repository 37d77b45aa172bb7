"""Networks of others made plain, and Dirac kernels put into them and taken out again."""

from dirac_keras.conversion.certificate import Certificate
from dirac_keras.conversion.dirac import DiracReport, diracify, undiracify
from dirac_keras.conversion.methods import plainify
from dirac_keras.conversion.pruning import PruneReport, prune
from dirac_keras.conversion.settings import Teaching
from dirac_keras.conversion.skips import PlainSkip

__all__ = [
    "Certificate",
    "DiracReport",
    "PlainSkip",
    "PruneReport",
    "Teaching",
    "diracify",
    "plainify",
    "prune",
    "undiracify",
]
