"""Rounding that looks at data: the error of one weight is made good by those that are not rounded yet."""

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.lapack import dtrtri

from dirac_keras.deployment.quantization.grids import largest_integer

DAMPING = 0.01  # of the mean diagonal, as Frantar et al. add it: taps that no image excites leave the Hessian singular
BLOCK = 128  # taps whose errors are spread over the rest together: one product of matrices, where memory is the limit
INNER = 16  # the same within a block
PASSES = 4  # over all taps afterwards; the second brings most of what they bring


class Hessian:
    """The damped Gram matrix of a layer's taps, which can be inverted whatever the data left out, factored once.

    Attributes:
        order: int array, the taps by falling excitation.
        gram: array `(taps, taps)`, damped, the taps in this order.
        damping: number, what the diagonal has in addition.
    """

    def __init__(self, gram, damping=DAMPING):
        """`gram`: array `(taps, taps)`, the sum over the data of `x x^T`; `damping`: of its mean diagonal."""
        diagonal = np.diag(gram)
        self.damping = max(damping * float(np.mean(diagonal)), float(np.finfo("float32").tiny))
        self.order = np.argsort(-diagonal, kind="stable")
        self.gram = gram[np.ix_(self.order, self.order)].astype("float64", copy=False)
        self.gram[np.diag_indices(len(gram))] += self.damping
        # Upper triangular R with `R R^T = gram`: the Cholesky factor of the matrix read from its other corner.
        turned = np.asfortranarray(self.gram[::-1, ::-1])
        self._root = cholesky(turned, lower=True, overwrite_a=True, check_finite=False)[::-1, ::-1]

    def inverse_root(self):
        """Upper triangular U with `U^T U = gram^-1`, which there is one of: the inverse of R."""
        turned, info = dtrtri(self._root[::-1, ::-1], lower=1)
        if info:
            raise np.linalg.LinAlgError(f"the Gram matrix cannot be inverted: row {info} is 0")
        return turned[::-1, ::-1]

    def solve(self, right):
        """`X` with `X gram = right`, both `(filters, taps)` with the taps as they were given."""
        lower = self._root[::-1, ::-1]
        turned = right[:, self.order[::-1]].T
        for trans in ("N", "T"):
            turned = solve_triangular(lower, turned, trans=trans, lower=True, check_finite=False)
        found = np.empty_like(right, dtype="float64")
        found[:, self.order[::-1]] = turned.T
        return found


def round_by_data(matrix, hessian, scales, bits, passes=PASSES, free=None):
    """Integers for the weights of one layer, so that its outputs on the data change least.

    One tap after another is rounded in all filters at once; its error is spread over the taps that follow, with the
    weights that least squares gives it. Then each tap is looked at again, the others as they are now. The largest
    weight of a filter keeps the largest integer: a converter that looks for the scale anew finds the same one.

    Args:
        matrix: array `(filters, taps)`.
        hessian: `Hessian`, or the Gram matrix that it is made of.
        scales: array `(filters,)`, of `grids.filter_scales`.
        bits: int, of a weight.
        passes: int, how often each tap is looked at again.
        free: bool array `(filters, taps)`, weights that may be any number; None: none.

    Returns: array `(filters, taps)` of integers, as floats; what is free is in units of the grid too.
    Source: Frantar et al. 2023, arXiv:2210.17323, algorithm 1, with the taps in the order of falling excitation and in
        blocks of their section "step 2: lazy batch-updates"; the passes: Behdin et al. 2023 (QuantEase),
        arXiv:2309.01885, algorithm 1.
    """
    hessian = hessian if isinstance(hessian, Hessian) else Hessian(hessian)
    order = hessian.order
    wanted = (np.asarray(matrix, "float64") / scales[:, None])[:, order].T  # (taps, filters): a tap is a row
    grid = _Grid(np.ascontiguousarray(wanted), largest_integer(bits), None if free is None else free[:, order].T)
    integers = _in_turn(grid, hessian.inverse_root())
    slope = None
    for _ in range(passes):
        slope = hessian.gram @ (integers - grid.wanted) if slope is None else slope
        if not _look_again(integers, slope, grid, hessian.gram):
            break
    restored = np.empty_like(integers.T)
    restored[:, order] = integers.T
    return restored


class _Grid:
    """What is wanted of each weight `(taps, filters)`, in units of the grid, and which numbers it may become."""

    def __init__(self, wanted, limit, free=None):
        self.wanted = wanted
        self._free = free if free is not None and free.any() else None
        columns = np.arange(wanted.shape[1])
        largest = (np.abs(wanted) if free is None else np.where(free, 0.0, np.abs(wanted))).argmax(axis=0)
        self._high = np.full(wanted.shape, float(limit))
        self._high[largest, columns] = limit * np.sign(wanted[largest, columns])  # the integer that is given
        self._low = np.full(wanted.shape, -float(limit))
        self._low[largest, columns] = self._high[largest, columns]

    def rounded(self, values, tap):
        """The nearest numbers that the weights of a tap may be."""
        integers = np.rint(values)
        np.maximum(integers, self._low[tap], out=integers)
        np.minimum(integers, self._high[tap], out=integers)
        return integers if self._free is None else np.where(self._free[tap], values, integers)


def _in_turn(grid, upper):
    left, integers = grid.wanted.copy(), np.empty_like(grid.wanted)
    errors = np.empty_like(left)
    for start, stop in _parts(0, len(left), BLOCK):
        for first, last in _parts(start, stop, INNER):
            for tap in range(first, last):
                integers[tap] = grid.rounded(left[tap], tap)
                errors[tap] = (left[tap] - integers[tap]) / upper[tap, tap]
                left[tap + 1 : last] -= upper[tap, tap + 1 : last, None] * errors[tap]
            left[last:stop] -= upper[first:last, last:stop].T @ errors[first:last]
        left[stop:] -= upper[start:stop, stop:].T @ errors[start:stop]
    return integers


def _look_again(integers, slope, grid, gram):
    """Each tap moved to where the others leave the least error, in place. Returns: whether any moved.

    `slope` is half the derivative of the error, `gram @ (integers - wanted)`, and stays so.
    """
    moved = False
    for start, stop in _parts(0, len(integers), BLOCK):
        change, near = np.zeros_like(integers[start:stop]), slope[start:stop].copy()
        for first, last in _parts(start, stop, INNER):
            for tap in range(first, last):
                new = grid.rounded(integers[tap] - near[tap - start] / gram[tap, tap], tap)
                step = change[tap - start] = new - integers[tap]
                if step.any():
                    near[tap + 1 - start : last - start] += gram[tap, tap + 1 : last, None] * step
                    integers[tap] = new
            near[last - start :] += gram[last:stop, first:last] @ change[first - start : last - start]
        taps = np.flatnonzero(change.any(axis=1))
        if len(taps):
            moved = True
            slope += gram[:, start + taps] @ change[taps]
    return moved


def _parts(start, stop, length):
    """`(start, stop)` of parts one after another."""
    return [(first, min(first + length, stop)) for first in range(start, stop, length)]
