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


def round_by_data(matrix, gram, scales, bits, passes=PASSES):
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

    Returns: array `(filters, taps)` of integers, as floats.
    Source: Frantar et al. 2023, arXiv:2210.17323, algorithm 1, with the taps in the order of falling excitation; the
        passes: Behdin et al. 2023 (QuantEase), arXiv:2309.01885, algorithm 1.
    """
    limit = largest_integer(bits)
    wanted = np.asarray(matrix, "float64") / scales[:, None]  # in units of the grid
    order = np.argsort(-np.diag(gram), kind="stable")
    wanted, gram = wanted[:, order], damped(gram[np.ix_(order, order)])
    rows, largest = np.arange(len(wanted)), np.abs(wanted).argmax(axis=1)
    fixed = np.full(wanted.shape, np.nan)  # the integers that are given
    fixed[rows, largest] = limit * np.sign(wanted[rows, largest])
    integers = _in_turn(wanted, fixed, _inverse_root(gram), limit)
    for _ in range(passes):
        if not _look_again(integers, wanted, fixed, gram, limit):
            break
    restored = np.empty_like(integers)
    restored[:, order] = integers
    return restored


def _in_turn(wanted, fixed, upper, limit):
    left, integers = wanted.copy(), np.empty_like(wanted)
    for start in range(0, left.shape[1], BLOCK):
        stop = min(start + BLOCK, left.shape[1])
        errors = np.empty((len(left), stop - start))
        for tap in range(start, stop):
            rounded = _rounded(left[:, tap], fixed[:, tap], limit)
            error = (left[:, tap] - rounded) / upper[tap, tap]
            left[:, tap:stop] -= error[:, None] * upper[tap, tap:stop]
            errors[:, tap - start], integers[:, tap] = error, rounded
        left[:, stop:] -= errors @ upper[start:stop, stop:]
    return integers


def _look_again(integers, wanted, fixed, gram, limit):
    """Each tap moved to where the others leave the least error, in place. Returns: whether any moved."""
    slope = (integers - wanted) @ gram  # half the derivative of the error
    moved = False
    for start in range(0, integers.shape[1], BLOCK):
        stop = min(start + BLOCK, integers.shape[1])
        before = integers[:, start:stop].copy()
        for tap in range(start, stop):
            new = _rounded(integers[:, tap] - slope[:, tap] / gram[tap, tap], fixed[:, tap], limit)
            slope[:, start:stop] += (new - integers[:, tap])[:, None] * gram[tap, start:stop]
            integers[:, tap] = new
        change = integers[:, start:stop] - before
        if change.any():
            moved = True
            slope[:, stop:] += change @ gram[start:stop, stop:]
    return moved


def _rounded(values, fixed, limit):
    return np.where(np.isnan(fixed), np.clip(np.rint(values), -limit, limit), fixed)


def _inverse_root(gram):
    """Upper triangular U with `U^T U = gram^-1`."""
    lower = cholesky(gram, lower=True)
    inverse = solve_triangular(lower, np.eye(len(gram)), lower=True)
    return cholesky(inverse.T @ inverse, lower=False)
