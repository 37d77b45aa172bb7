"""Integrated gradients: what each number of the image adds to the class score on the way from a baseline."""

import dataclasses

import numpy as np
from keras import ops

from dirac_keras.explanation.derivative import gradient


@dataclasses.dataclass(frozen=True, eq=False)
class Integral:
    """Attributions and how far they are from complete.

    Attributes:
        attributions: array float32 of the images' shape.
        differences: array `(batch,)`, score of the image less that of the baseline.
        gaps: array `(batch,)`, sum of the attributions less that difference. It is 0 for an exact integral.
    """

    attributions: np.ndarray
    differences: np.ndarray
    gaps: np.ndarray

    def parts(self):
        """All three, an entry of each for every image."""
        return self.attributions, self.differences, self.gaps

    def missed(self):
        """Gap of each image as a share of the difference of its scores, without sign, `(batch,)`."""
        return np.abs(self.gaps) / np.maximum(np.abs(self.differences), 1e-12)


def integrated_gradients(network, images, targets, baseline, steps):
    """`(x - x0)` times the mean gradient of the score on the straight line from `x0` to `x`, by the trapezoid rule.

    Args:
        network: `ScoredNetwork`.
        images: array `(batch, height, width, channels)`, `x`.
        targets: array of int `(batch,)`.
        baseline: array of the images' shape, `x0`.
        steps: int, parts of the line; the gradient is taken at their `steps + 1` ends.

    Returns: `Integral`.
    Source: Sundararajan et al. 2017, arXiv:1703.01365, eq. 1; completeness: proposition 1.
    """
    points = np.linspace(0.0, 1.0, steps + 1)
    weights = np.full(steps + 1, 1.0 / steps)
    weights[[0, -1]] /= 2.0
    results = [
        _along_the_line(network, image, target, start, points, weights)
        for image, target, start in zip(images.astype("float32"), targets, baseline, strict=True)
    ]
    attributions, differences = (np.stack(parts) for parts in zip(*results, strict=True))
    sums = attributions.astype("float64").sum(axis=(1, 2, 3))
    return Integral(attributions.astype("float32"), differences, sums - differences)


def until_complete(network, images, targets, baseline, first, most, allowed):
    """`integrated_gradients` with twice the steps, again and again, for images whose attributions miss too much.

    Args:
        network, images, targets, baseline: see `integrated_gradients`.
        first, most: int, steps to begin with, and not to exceed.
        allowed: number, share of the difference of the scores that the attributions may miss.

    Returns: `(Integral, array of int (batch,), the steps of each image)`.
    """
    found = integrated_gradients(network, images, targets, baseline, first)
    taken = np.full(len(images), first)
    while 2 * taken.max() <= most and (far := np.flatnonzero(found.missed() > allowed)).size:
        steps = 2 * int(taken.max())
        again = integrated_gradients(network, images[far], targets[far], baseline[far], steps)
        for own, new in zip(found.parts(), again.parts(), strict=True):
            own[far] = new
        taken[far] = steps
    return found, taken


def _along_the_line(network, image, target, start, points, weights):
    """Attributions of one image, and the difference of the scores at the ends."""
    total, scores = np.zeros(image.shape), []
    way = image - start
    for (part, some), count in network.chunks([points, weights]):
        lines = start + part[:, None, None, None] * way
        targets = np.full(len(part), target)
        slopes, rows = _slopes(network, lines.astype("float32"), targets)
        total += np.tensordot(some[:count], slopes[:count].astype("float64"), axes=1)
        scores.append(rows[:count].astype("float64"))
    scores = np.concatenate(scores)
    return way * total, scores[-1] - scores[0]


def _slopes(network, images, targets):
    """The gradient of each image's score by the image, as if the input were floats, and the scores."""

    def score(value):
        rows = network.score_of(value, targets)
        return ops.sum(rows), rows

    rows, slopes = gradient(score, ops.convert_to_tensor(images, dtype="float32"))
    return ops.convert_to_numpy(slopes), ops.convert_to_numpy(rows)
