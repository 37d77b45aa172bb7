"""Rounding that looks at data: the error of one weight is made good by those that are not rounded yet."""

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from dirac_keras.deployment.quantization.grids import largest_integer

DAMPING = 0.01  # of the mean diagonal, as Frantar et al. add it: taps that no image excites leave the Hessian singular
BLOCK = 128  # taps whose errors are spread over the rest together: one product of matrices, where memory is the limit
PASSES = 4  # over all taps afterwards; the second brings most of what they bring


def damped(gram, damping=DAMPING):
    """A Gram matrix `(taps, taps)` that can be inverted, whatever the data left out."""
    added = max(damping * float(np.mean(np.diag(gram))), float(np.finfo("float32").tiny))
    return gram + added * np.eye(len(gram))


def round_by_data(matrix, gram, scales, bits, passes=PASSES, free=None):
    """Integers for the weights of one layer, so that its outputs on the data change least.

    One tap after another is rounded in all filters at once; its error is spread over the taps that follow, with the
    weights that least squares gives it. Then each tap is looked at again, the others as they are now. The largest
    weight of a filter keeps the largest integer: a converter that looks for the scale anew finds the same one.

    Args:
        matrix: array `(filters, taps)`.
        gram: array `(taps, taps)`, the sum over the data of `x x^T`, x being what a filter's taps are multiplied by.
        scales: array `(filters,)`, of `grids.filter_scales`.
        bits: int, of a weight.
        passes: int, how often each tap is looked at again.
        free: bool array `(filters, taps)`, weights that may be any number; None: none.

    Returns: array `(filters, taps)` of integers, as floats; what is free is in units of the grid too.
    Source: Frantar et al. 2023, arXiv:2210.17323, algorithm 1, with the taps in the order of falling excitation; the
        passes: Behdin et al. 2023 (QuantEase), arXiv:2309.01885, algorithm 1.
    """
    grid = _Grid(np.asarray(matrix, "float64") / scales[:, None], largest_integer(bits), free)
    order = np.argsort(-np.diag(gram), kind="stable")
    grid, gram = grid.in_order(order), damped(gram[np.ix_(order, order)])
    integers = _in_turn(grid, _inverse_root(gram))
    for _ in range(passes):
        if not _look_again(integers, grid, gram):
            break
    restored = np.empty_like(integers)
    restored[:, order] = integers
    return restored


class _Grid:
    """What is wanted of each weight, in units of the grid, and which numbers it may become."""

    def __init__(self, wanted, limit, free=None, fixed=None):
        self.wanted, self.limit = wanted, limit
        self.free = np.zeros(wanted.shape, bool) if free is None else free
        if fixed is None:
            rows, largest = np.arange(len(wanted)), np.where(self.free, 0.0, np.abs(wanted)).argmax(axis=1)
            fixed = np.full(wanted.shape, np.nan)  # the integers that are given
            fixed[rows, largest] = limit * np.sign(wanted[rows, largest])
        self.fixed = fixed

    def in_order(self, order):
        return _Grid(self.wanted[:, order], self.limit, self.free[:, order], self.fixed[:, order])

    def rounded(self, values, tap):
        """The nearest numbers that the weights of a tap may be."""
        integers = np.clip(np.rint(values), -self.limit, self.limit)
        integers = np.where(np.isnan(self.fixed[:, tap]), integers, self.fixed[:, tap])
        return np.where(self.free[:, tap], values, integers)


def _in_turn(grid, upper):
    left, integers = grid.wanted.copy(), np.empty_like(grid.wanted)
    for start in range(0, left.shape[1], BLOCK):
        stop = min(start + BLOCK, left.shape[1])
        errors = np.empty((len(left), stop - start))
        for tap in range(start, stop):
            rounded = grid.rounded(left[:, tap], tap)
            error = (left[:, tap] - rounded) / upper[tap, tap]
            left[:, tap:stop] -= error[:, None] * upper[tap, tap:stop]
            errors[:, tap - start], integers[:, tap] = error, rounded
        left[:, stop:] -= errors @ upper[start:stop, stop:]
    return integers


def _look_again(integers, grid, gram):
    """Each tap moved to where the others leave the least error, in place. Returns: whether any moved."""
    slope = (integers - grid.wanted) @ gram  # half the derivative of the error
    moved = False
    for start in range(0, integers.shape[1], BLOCK):
        stop = min(start + BLOCK, integers.shape[1])
        before = integers[:, start:stop].copy()
        for tap in range(start, stop):
            new = grid.rounded(integers[:, tap] - slope[:, tap] / gram[tap, tap], tap)
            slope[:, start:stop] += (new - integers[:, tap])[:, None] * gram[tap, start:stop]
            integers[:, tap] = new
        change = integers[:, start:stop] - before
        if change.any():
            moved = True
            slope[:, stop:] += change @ gram[start:stop, stop:]
    return moved


def _inverse_root(gram):
    """Upper triangular U with `U^T U = gram^-1`."""
    lower = cholesky(gram, lower=True)
    inverse = solve_triangular(lower, np.eye(len(gram)), lower=True)
    return cholesky(inverse.T @ inverse, lower=False)
