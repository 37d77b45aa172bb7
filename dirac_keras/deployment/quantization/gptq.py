"""Rounding that looks at data: the error of one weight is made good by those that are not rounded yet."""

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from dirac_keras.deployment.quantization.grids import largest_integer

DAMPING = 0.01  # of the mean diagonal, as Frantar et al. add it: taps that no image excites leave the Hessian singular


def damped(gram, damping=DAMPING):
    """A Gram matrix `(taps, taps)` that can be inverted, whatever the data left out."""
    added = max(damping * float(np.mean(np.diag(gram))), float(np.finfo("float32").tiny))
    return gram + added * np.eye(len(gram))


def round_by_data(matrix, gram, scales, bits):
    """Integers for the weights of one layer, so that its outputs on the data change least.

    One tap after another is rounded in all filters at once; its error is spread over the taps that follow, with the
    weights that least squares gives it. The largest weight of a filter keeps the largest integer: a converter that
    looks for the scale anew finds the same one.

    Args:
        matrix: array `(filters, taps)`.
        gram: array `(taps, taps)`, the sum over the data of `x x^T`, x being what a filter's taps are multiplied by.
        scales: array `(filters,)`, of `grids.filter_scales`.
        bits: int, of a weight.

    Returns: array `(filters, taps)` of integers, as floats.
    Source: Frantar et al. 2023, arXiv:2210.17323, algorithm 1, with the taps in the order of falling excitation.
    """
    limit = largest_integer(bits)
    left = np.asarray(matrix, "float64") / scales[:, None]  # in units of the grid
    order = np.argsort(-np.diag(gram), kind="stable")
    left = left[:, order]
    upper = _inverse_root(damped(gram[np.ix_(order, order)]))
    largest = np.abs(left).argmax(axis=1)
    extreme = limit * np.sign(left[np.arange(len(left)), largest])
    integers = np.empty_like(left)
    for tap in range(left.shape[1]):
        rounded = np.clip(np.rint(left[:, tap]), -limit, limit)
        rounded = np.where(largest == tap, extreme, rounded)
        error = (left[:, tap] - rounded) / upper[tap, tap]
        left[:, tap:] -= error[:, None] * upper[tap, tap:]
        integers[:, tap] = rounded
    restored = np.empty_like(integers)
    restored[:, order] = integers
    return restored


def _inverse_root(gram):
    """Upper triangular U with `U^T U = gram^-1`."""
    lower = cholesky(gram, lower=True)
    inverse = solve_triangular(lower, np.eye(len(gram)), lower=True)
    return cholesky(inverse.T @ inverse, lower=False)
