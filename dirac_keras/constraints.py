"""Constraints on weights."""

import math

import keras
from keras import ops

from dirac_keras.errors import UserError


@keras.saving.register_keras_serializable(package="dirac_keras")
class MaxNorm(keras.constraints.Constraint):
    """The Euclidean norm of each unit's weight vector is at most `max_value`.

    `keras.constraints.MaxNorm` with its default `axis=0` takes a column of a convolution's kernel for the vector, which
    leaves filters of several times the norm, and it shrinks vectors that are within the bound a little. Here a unit
    is what has an output: the whole filter. A vector within the bound is not touched, not in its last bit.

    Args:
        max_value: number above 0.
        axis: int or tuple of int, the axes of one weight vector. None: all but the last, which fits the kernels of
            dense layers, convolutions of any rank and Dirac layers. A depthwise kernel `(k, k, in, multiplier)` has
            `axis=(0, 1)`, a transposed convolution's `(k, k, out, in)` has `axis=(0, 1, 3)`.

    Raises: ValueError: if `max_value` is no finite number above 0.
    Source: Srebro & Shraibman 2005; Oyedotun et al., "Revisiting the Training of Very Deep Neural Networks without Skip
        Connections", section VI.C.
    """

    def __init__(self, max_value=3.0, axis=None):
        is_number = isinstance(max_value, (int, float)) and not isinstance(max_value, bool)
        if not is_number or not 0 < max_value < math.inf:
            raise UserError(f"max_value must be a number above 0. Received max_value={max_value!r}.")
        self.max_value = max_value
        self.axis = axis if axis is None or isinstance(axis, int) else tuple(axis)

    def __call__(self, w):
        w = ops.convert_to_tensor(w)
        axis = tuple(range(len(w.shape) - 1)) if self.axis is None else self.axis
        # Squares of float16 or bfloat16 weights would overflow or round; variables are float32 in mixed precision.
        norm = ops.sqrt(ops.sum(ops.square(ops.cast(w, "float32")), axis=axis, keepdims=True))
        is_above = norm > self.max_value
        factor = ops.where(is_above, self.max_value / ops.where(is_above, norm, 1.0), 1.0)
        return w * ops.cast(factor, w.dtype)

    def get_config(self):
        return {"max_value": self.max_value, "axis": self.axis}


@keras.saving.register_keras_serializable(package="dirac_keras")
class UnitInterval(keras.constraints.Constraint):
    """Clips every weight to [0, 1]: alpha of `VariableSkip`.

    Source: Monti, Tootoonian & Cao, "Avoiding degradation in deep feed-forward networks by phasing out
        skip-connections", section 3, below eq. 7.
    """

    def __call__(self, w):
        return ops.clip(w, 0.0, 1.0)
