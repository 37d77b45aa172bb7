"""Rules of this package's Dirac layers: the effective kernel in a plain layer."""

import keras

from dirac_keras.folding.misplaced import WHERE, adds_elsewhere
from dirac_keras.folding.rules.base import rule, to_float64
from dirac_keras.folding.rules.kernels import ConvRule, DenseRule
from dirac_keras.layers import DiracConv1D, DiracConv2D, DiracConv3D, DiracDense

_DIRAC_ARGUMENTS = (
    "use_identity_scale",
    "use_weight_norm",
    "use_identity_multiplier",
    "identity_scale_initializer",
    "filter_scale_initializer",
    "identity_scale_regularizer",
    "filter_scale_regularizer",
    "identity_scale_constraint",
    "filter_scale_constraint",
    "kernel_initializer",  # meant for the raw kernel
    "kernel_regularizer",
    "kernel_constraint",
)


class _FromDirac:
    """The effective kernel in a plain layer; what was meant for the raw one, as a constraint, is dropped."""

    def read(self, layer):
        self.kernel = to_float64(layer.effective_kernel())

    def why_not_plain(self, shape):
        """Why a plain layer would not compute the same output of this shape, or None."""
        if self.bias is not None and adds_elsewhere(shape, self.bias_shape(shape)):
            return f"would add its bias along another axis than its channels ({WHERE})"
        return None

    def config(self):
        return {key: value for key, value in super().config().items() if key not in _DIRAC_ARGUMENTS}


@rule(DiracConv1D)
class DiracConv1DRule(_FromDirac, ConvRule):
    plain_class = keras.layers.Conv1D


@rule(DiracConv2D)
class DiracConv2DRule(_FromDirac, ConvRule):
    plain_class = keras.layers.Conv2D


@rule(DiracConv3D)
class DiracConv3DRule(_FromDirac, ConvRule):
    plain_class = keras.layers.Conv3D


@rule(DiracDense)
class DiracDenseRule(_FromDirac, DenseRule):
    plain_class = keras.layers.Dense
