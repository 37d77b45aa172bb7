"""The condition of a layer's weights, the norms of its filters, and how far they have come from their start."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from dirac_keras.diagnostics.taps import to_numpy
from dirac_keras.errors import UserError

MAX_ELEMENTS = 2**23  # of a kernel, 64 MiB in float64; and with the next, seconds on a CPU
MAX_SIDE = 2048


class NotMeasurable(Exception):
    """Why a quantity of a layer cannot be had."""


@dataclass(frozen=True)
class WeightStatistics:
    """A layer's kernel as the matrix `W`, `(units, inputs)`, of the paper's eq. 2.

    | field | what it is |
    |---|---|
    | `units`, `inputs` | of `W`; a convolution's inputs are all taps of all channels |
    | `condition_number` | of the kernel in use: `norm(W) norm(pinv(W))`, infinity norm; inf if rank deficient |
    | `raw_condition_number` | of a Dirac layer, that of the raw kernel; None for others |
    | `filter_norm_min`, `_median`, `_max` | Euclidean norms of the rows of `W` |
    | `distance`, `relative_distance` | Frobenius norm of the kernel's change since its start, and by its norm then |

    Source: Oyedotun et al., Fig. 5 ("infinity-norm based condition number for model weights"). The infinity norm is
    the largest sum of absolute values over the incoming weights of one unit.
    """

    units: int
    inputs: int
    condition_number: float | None
    raw_condition_number: float | None
    filter_norm_min: float
    filter_norm_median: float
    filter_norm_max: float
    distance: float | None = None
    relative_distance: float | None = None


def condition_number(matrix):
    """`norm(W) norm(pinv(W))` in the infinity norm.

    Args:
        matrix: array `(rows, columns)`, or `(blocks, rows, columns)` for the blocks of a block-diagonal matrix.

    Returns: float; inf if the smallest singular value is rounding beside the largest (NumPy's rule of `matrix_rank`,
        in float64).
    Raises: ValueError: if an element is not finite or the matrix is empty.
    """
    matrix = np.asarray(matrix, "float64")
    if matrix.ndim not in (2, 3) or not matrix.size:
        raise UserError(f"matrix must have shape (rows, columns), none of them 0. Received {matrix.shape}.")
    if not np.all(np.isfinite(matrix)):
        raise UserError("matrix must hold finite numbers only. It holds NaN or infinity.")
    blocks = matrix if matrix.ndim == 3 else matrix[None]
    rows, columns = blocks.shape[1:]
    tall = blocks if rows >= columns else np.swapaxes(blocks, 1, 2)  # pinv(A^T) = pinv(A)^T
    q, r = np.linalg.qr(tall)
    singular_values = np.linalg.svd(r, compute_uv=False)
    smallest, largest = singular_values.min(), singular_values.max()
    if smallest <= largest * max(rows, columns) * np.finfo("float64").eps:
        return float("inf")
    inverse = np.linalg.solve(r, np.swapaxes(q, 1, 2))  # pinv of the tall matrix
    inverse = inverse if rows >= columns else np.swapaxes(inverse, 1, 2)
    return float(_infinity_norm(blocks) * _infinity_norm(inverse))


def _infinity_norm(blocks):
    return np.abs(blocks).sum(axis=-1).max()


def measure_weights(layer, initial=None):
    """`WeightStatistics` of a layer with a kernel.

    What is measured: Dense and EinsumDense by the last axis of the kernel; a convolution as `k k c_in` inputs a filter;
    grouped and depthwise ones as the block-diagonal matrix they are; transposed ones with all taps of all input
    channels of a filter as inputs; separable ones as the one convolution they equal; Dirac layers by the
    kernel in use.

    Args:
        layer: built layer.
        initial: array, the kernel at the start; None leaves the distance out.

    Returns: `(WeightStatistics, reasons)`, reasons being `(quantity, why)` of fields that are None.
    Raises: NotMeasurable: if nothing can be said.
    """
    kernel, blocks = _matrices(layer)
    if not np.all(np.isfinite(kernel)):
        raise NotMeasurable("the kernel holds NaN or infinity")
    reasons = []
    is_dirac = hasattr(layer, "effective_kernel")
    try:
        condition = _bounded_condition_number(blocks)
        raw = _bounded_condition_number(_as_blocks(layer, _numpy(layer.kernel))) if is_dirac else None
    except NotMeasurable as reason:
        condition = raw = None
        reasons.append(("condition_number", str(reason)))
    norms = np.linalg.norm(blocks, axis=2).reshape(-1)
    distance = relative = None
    if initial is not None:
        distance = float(np.linalg.norm(_numpy(layer.kernel) - initial))
        norm = float(np.linalg.norm(initial))
        relative = distance / norm if norm else None
    statistics = WeightStatistics(
        units=len(norms),
        inputs=blocks.shape[0] * blocks.shape[2],
        condition_number=condition,
        raw_condition_number=raw,
        filter_norm_min=float(norms.min()),
        filter_norm_median=float(np.median(norms)),
        filter_norm_max=float(norms.max()),
        distance=distance,
        relative_distance=relative,
    )
    return statistics, reasons


def _bounded_condition_number(blocks):
    if blocks.size > MAX_ELEMENTS or min(blocks.shape[1:]) > MAX_SIDE:
        raise NotMeasurable(
            f"a {blocks.shape[1]} x {blocks.shape[2]} matrix is larger than the {MAX_SIDE:,} rows or "
            f"{MAX_ELEMENTS:,} elements that are inverted"
        )
    return condition_number(blocks)


def _numpy(variable):
    return to_numpy(ops.convert_to_tensor(variable)).astype("float64")


def _matrices(layer):
    """The kernel in use, and `W` as `(blocks, units, inputs)`."""
    if hasattr(layer, "depthwise_kernel"):
        depthwise, pointwise = _numpy(layer.depthwise_kernel), _numpy(layer.pointwise_kernel)
        channels, multiplier = depthwise.shape[-2:]
        pointwise = pointwise.reshape(channels, multiplier, -1)
        kernel = np.einsum("pcm,cmf->pcf", depthwise.reshape(-1, channels, multiplier), pointwise)
        return kernel, kernel.reshape(-1, kernel.shape[-1]).T[None]
    kernel = _numpy(layer.effective_kernel() if hasattr(layer, "effective_kernel") else layer.kernel)
    return kernel, _as_blocks(layer, kernel)


def _as_blocks(layer, kernel):
    if kernel.ndim < 2:
        raise NotMeasurable(f"a kernel of shape {kernel.shape} is no matrix")
    if isinstance(layer, _TRANSPOSED):
        kernel = np.swapaxes(kernel, -1, -2)  # (k, k, filters, channels)
    if isinstance(layer, _DEPTHWISE):
        channels, multiplier = kernel.shape[-2:]
        return np.moveaxis(kernel.reshape(-1, channels, multiplier), 0, 2)  # a block a channel
    groups = getattr(layer, "groups", 1)
    matrix = kernel.reshape(-1, kernel.shape[-1]).T  # (units, inputs)
    return matrix.reshape(groups, -1, matrix.shape[-1])


_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
