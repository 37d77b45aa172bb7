"""Networks of others made plain, and Dirac kernels put into them and taken out again."""

from dirac_keras.plainify.certificate import Certificate
from dirac_keras.plainify.dirac import DiracReport, diracify, undiracify
from dirac_keras.plainify.exact import PlainSkip
from dirac_keras.plainify.methods import plainify

__all__ = ["Certificate", "DiracReport", "PlainSkip", "diracify", "plainify", "undiracify"]
