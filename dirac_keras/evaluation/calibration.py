"""Whether a network is right as often as it says: reliability, expected calibration error, temperature."""

import dataclasses

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from dirac_keras.errors import UserError

BINS = 15  # as in Guo et al. 2017
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are tried


@dataclasses.dataclass(frozen=True)
class Bin:
    """Images whose confidence, the probability of the class they are given, lies in `(low, high]`.

    Attributes:
        low, high: borders.
        images: int.
        confidence: mean confidence; None where there are no images.
        accuracy: share of images with the right class; None likewise.
    """

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


def reliability(confidences, right, bins=BINS):
    """The bins of a reliability diagram, of equal width.

    Args:
        confidences: array `(images,)` in 0 to 1.
        right: array `(images,)` of bool.
        bins: int.

    Returns: list of `Bin`, from 0 to 1.
    """
    confidences, right = np.asarray(confidences, "float64"), np.asarray(right, bool)
    borders = np.linspace(0.0, 1.0, bins + 1)
    # (low, high], and 0 itself in the first; rounding may leave a probability of 1 + 1e-7.
    where = np.clip(np.searchsorted(borders, confidences, side="left") - 1, 0, bins - 1)
    images = np.bincount(where, minlength=bins)
    sums, hits = (np.bincount(where, values, bins) for values in (confidences, right.astype("float64")))
    return [
        Bin(
            float(borders[k]),
            float(borders[k + 1]),
            int(images[k]),
            float(sums[k] / images[k]) if images[k] else None,
            float(hits[k] / images[k]) if images[k] else None,
        )
        for k in range(bins)
    ]


def expected_error(rows):
    """Expected calibration error: the mean distance of accuracy and confidence over bins, weighted by their images.

    Args:
        rows: list of `Bin`.

    Returns: float, 0 to 1.
    Raises: ValueError: if there are no images.
    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    total = sum(row.images for row in rows)
    if total == 0:
        raise UserError("rows must hold an image or more. Received none.")
    return sum(row.images * abs(row.accuracy - row.confidence) for row in rows if row.images) / total


def mean_gap(rows):
    """Mean confidence minus accuracy: above 0 for a network that is too sure of itself."""
    filled = [row for row in rows if row.images]
    return sum(row.images * (row.confidence - row.accuracy) for row in filled) / sum(row.images for row in filled)


def fit_temperature(log_probabilities, labels):
    """The temperature T that minimizes the cross-entropy of `softmax(z / T)`.

    Logits and log-probabilities differ by a constant an image, which the softmax does not see.

    Args:
        log_probabilities: array `(images, classes)` of logits or of log-probabilities.
        labels: array `(images,)` of int.

    Returns: `(T, is_at_bound)`. At a bound, of 0.05 or 20, the images do not say where the minimum is: all are right,
        or the outputs tell nothing.
    Source: Guo et al. 2017, arXiv:1706.04599, eq. 9.
    """
    scores = np.asarray(log_probabilities, "float64")
    picked = scores[np.arange(len(labels)), np.asarray(labels)]

    def cost(log_temperature):
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(scores * scale, axis=-1) - picked * scale))

    bounds = np.log([COLDEST, HOTTEST])
    inside = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-5}).x
    # The cost may be flat far inside, as where all images are right: then a bound is as good.
    found = min((*bounds, inside), key=cost)
    return float(np.exp(found)), bool(min(found - bounds[0], bounds[1] - found) < 1e-3)


def confidences_at(log_probabilities, temperature):
    """The confidence of each image at a temperature: array `(images,)`. The predicted class stays the same."""
    scaled = np.asarray(log_probabilities, "float64") / temperature
    return np.exp(scaled.max(axis=-1) - logsumexp(scaled, axis=-1))


@dataclasses.dataclass(frozen=True)
class Scaling:
    """What one temperature for all outputs mends.

    Attributes:
        temperature: fitted on one half of the images.
        is_at_bound: see `fit_temperature`.
        images_fitted, images_held_out: ints.
        before, after: expected calibration error of the other half, without and with the temperature.
    """

    temperature: float
    is_at_bound: bool
    images_fitted: int
    images_held_out: int
    before: float
    after: float


def scale(log_probabilities, labels, seed=0):
    """Fit a temperature on a random half of the images and measure it on the other.

    Args:
        log_probabilities: array `(images, classes)`; two images or more.
        labels: array `(images,)` of int.
        seed: draws the halves.

    Returns: `Scaling`.
    Raises: ValueError: if there are fewer than two images.
    """
    labels = np.asarray(labels)
    if len(labels) < 2:
        raise UserError(f"a temperature needs two images or more, one to fit it and one to test it. Got {len(labels)}.")
    fit, held = np.array_split(np.random.default_rng(seed).permutation(len(labels)), 2)
    temperature, is_at_bound = fit_temperature(log_probabilities[fit], labels[fit])
    rows, truth = log_probabilities[held], labels[held]
    right = rows.argmax(axis=-1) == truth
    before, after = (expected_error(reliability(confidences_at(rows, t), right)) for t in (1.0, temperature))
    return Scaling(temperature, is_at_bound, len(fit), len(held), before, after)
