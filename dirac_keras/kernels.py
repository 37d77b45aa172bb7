"""The algebra of Dirac parameterization as pure functions (Zagoruyko & Komodakis 2017, arXiv:1706.00388, section 2).

Kernels have Keras' shape `(*kernel_size, in_channels // groups, filters)`; a dense kernel is the case without
spatial axes. A filter is everything but the last axis.
"""

import keras
import numpy as np
from keras import ops

from dirac_keras.errors import UserError


def identity_kernel(shape, dtype="float32", tap="centre", groups=1):
    """The identity `I` of discrete convolution (eq. 1): `conv(x, I) = x`.

    Eq. 2 of the paper reads as if every tap of the diagonal were 1, which would not satisfy eq. 1; as in the
    authors' code, only one tap is.

    Args:
        shape: tuple of int, `(*kernel_size, in_channels // groups, filters)`.
        dtype: of the result.
        tap: `"centre"`, or `"last"` for causal convolution, where the last tap sees the current position.
        groups: int, convolution groups.

    Returns: NumPy array. 1 where in-channel = out-channel, 0 for channels beyond `min(in, out)`.
    Raises: ValueError: if `tap` is unknown, or `"centre"` and a kernel size is even (no centre exists).
    """
    *kernel_size, group_channels, filters = shape
    if tap not in ("centre", "last"):
        raise UserError(f"tap must be 'centre' or 'last'. Received tap={tap!r}.")
    if tap == "centre" and any(size % 2 == 0 for size in kernel_size):
        raise UserError(f"An identity kernel needs odd kernel sizes. Received kernel_size={tuple(kernel_size)}.")
    position = tuple(size // 2 if tap == "centre" else size - 1 for size in kernel_size)
    identity = np.zeros(shape, dtype="float32")
    for out_channel in range(min(group_channels * groups, filters)):
        group = out_channel // (filters // groups)
        in_channel = out_channel - group * group_channels  # as the group numbers its inputs
        if 0 <= in_channel < group_channels:
            identity[(*position, in_channel, out_channel)] = 1.0
    return identity.astype(dtype)


def filter_norms(kernel):
    """Euclidean norm of each filter: `(*kernel_size, in, filters)` -> `(filters,)`."""
    return ops.sqrt(ops.sum(ops.square(in_single_precision(kernel)), axis=_filter_axes(kernel)))


def normalize_filters(kernel, scale=1.0):
    """`diag(scale) W_norm` of eq. 5: each filter divided by its Euclidean norm, times `scale`.

    A filter that is zero stays zero and has a zero gradient, not NaN.

    Args:
        kernel: tensor `(*kernel_size, in, filters)`.
        scale: number or tensor `(filters,)`.

    Returns: tensor of the kernel's shape and precision. Those of float16 and bfloat16 are normalized in float32: the
        squares of weights above 255 or below 2e-4 are not what float16 holds.
    """
    dtype = ops.convert_to_tensor(kernel).dtype
    kernel = in_single_precision(kernel)
    sum_of_squares = ops.sum(ops.square(kernel), axis=_filter_axes(kernel))  # (filters,)
    is_zero = sum_of_squares < np.finfo("float32").tiny
    # The inner `where` keeps infinity out of the gradient of the branch that is not taken.
    inverse_norm = ops.where(is_zero, 0.0, ops.rsqrt(ops.where(is_zero, 1.0, sum_of_squares)))
    # The vectors first: one pass over the kernel instead of two.
    return ops.cast(kernel * (in_single_precision(scale) * inverse_norm), dtype)


def in_single_precision(values):
    """A tensor in float32 where it is of half precision; others, and None, as they are."""
    is_half = keras.backend.standardize_dtype(getattr(values, "dtype", "float32")) in ("float16", "bfloat16")
    return ops.cast(values, "float32") if is_half else values


def effective_kernel(kernel, identity, identity_scale=None, filter_scale=None):
    """`W_hat`, the kernel the convolution uses.

    | arguments | result | paper |
    |---|---|---|
    | both scales | `diag(a) I + diag(b) W_norm` | eq. 5 |
    | `identity_scale` | `diag(a) I + W` | eq. 4 |
    | none | `I + W` | eq. 8 |

    Args:
        kernel: tensor `(*kernel_size, in, filters)`, the raw `W`.
        identity: tensor of the same shape, from `identity_kernel`.
        identity_scale: tensor `(filters,)`, `a`; None leaves `I` as it is.
        filter_scale: tensor `(filters,)`, `b`; None uses `W` without normalisation.

    Returns: tensor of the kernel's shape.
    """
    filters = kernel if filter_scale is None else normalize_filters(kernel, filter_scale)
    skip = identity if identity_scale is None else identity_scale * identity
    return skip + filters


def _filter_axes(kernel):
    return tuple(range(len(kernel.shape) - 1))
