"""The integers that a filter's weights become: one scale a filter, symmetric around zero."""

import math

import numpy as np


def largest_integer(bits):
    """127 for 8 bits, 7 for 4: the most negative integer is left out, so that the grid is symmetric."""
    return 2 ** (bits - 1) - 1


def filter_scales(matrix, bits):
    """The scale that every runtime's converter chooses: a filter's largest weight becomes the largest integer.

    Args:
        matrix: array `(filters, taps)`.
        bits: int, of a weight.

    Returns: array `(filters,)`, float64; 1 for a filter that is zero everywhere.
    """
    largest = np.max(np.abs(matrix), axis=1, initial=0.0).astype("float64")
    return np.where(largest > 0, largest / largest_integer(bits), 1.0)


def to_nearest(matrix, scales, bits):
    """Integers `(filters, taps)`, each weight rounded on its own."""
    limit = largest_integer(bits)
    return np.clip(np.rint(matrix / scales[:, None]), -limit, limit)


def to_weights(integers, scales):
    """What the integers stand for."""
    return integers * scales[:, None]


def signal_to_noise_db(reference, outputs):
    """Signal to quantization noise ratio in decibels: `10 log10(sum reference^2 / sum (outputs - reference)^2)`."""
    reference, outputs = np.asarray(reference, "float64"), np.asarray(outputs, "float64")
    noise = float(np.sum((outputs - reference) ** 2))
    if noise == 0:
        return math.inf
    with np.errstate(divide="ignore"):  # a reference of zeros
        return 10 * float(np.log10(np.sum(reference**2) / noise))


def db_number(db):
    """Decibels for a column of a table; what equals its reference has no number of them."""
    return "equal" if db == math.inf else f"{db:.1f}"


def db_text(db, equal="equal outputs"):
    """Decibels for a sentence: `33.0 dB`, or the words for what equals its reference."""
    return equal if db == math.inf else f"{db:.1f} dB"
