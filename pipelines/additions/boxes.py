"""Rectangles of an image, `(n, 4)` int32 of (top, left, height, width): what cutmix pastes and what is erased."""

from __future__ import annotations

import math

import numpy as np

AREA, ASPECT = (0.02, 0.33), (0.3, 3.3)  # of what is erased, in the form of torchvision's RandomErasing
ATTEMPTS = 10
ERASE_CHANCES = 1 + 2 * ATTEMPTS + 2


def cut_boxes(shares: np.ndarray, chances: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The box of cutmix that covers `1 - share` of an image, cut at its border.

    Args:
        shares: `(n,)` in 0..1, of the image itself.
        chances: `(n, 2)` in [0, 1), where the box's middle lies.
        size: (height, width).
    Source: Yun et al. 2019, arXiv:1905.04899, equation 2, and the authors' code.
    """
    sides = np.asarray(size)
    lengths = (np.sqrt(1 - np.asarray(shares, np.float64))[:, None] * sides).astype(np.int64)  # (n, 2)
    middles = (chances.astype(np.float64) * sides).astype(np.int64)
    starts = np.clip(middles - lengths // 2, 0, sides)
    ends = np.clip(middles - lengths // 2 + lengths, 0, sides)
    return np.concatenate([starts, ends - starts], axis=1).astype(np.int32)


def erased_boxes(probability: float, chances: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The box that is erased of each image, without height where none is.

    Args:
        probability: of an image to lose a part.
        chances: `(n, ERASE_CHANCES)` in [0, 1): whether, areas, aspect ratios, place. The first of the proposed boxes
            that is smaller than the image is taken.
        size: (height, width).
    Source: Zhong et al. 2017, arXiv:1708.04896, algorithm 1; the aspect ratio is drawn evenly on a log scale.
    """
    sides = np.asarray(size)
    chances = chances.astype(np.float64)
    areas, logs, places = np.split(chances[:, 1:], (ATTEMPTS, 2 * ATTEMPTS), axis=1)
    areas = (AREA[0] + (AREA[1] - AREA[0]) * areas) * math.prod(size)
    low, high = map(math.log, ASPECT)
    ratios = np.exp(low + (high - low) * logs)
    proposed = np.rint(np.stack([np.sqrt(areas * ratios), np.sqrt(areas / ratios)], axis=2)).astype(np.int64)
    fits = np.all((proposed > 0) & (proposed < sides), axis=2)  # (n, attempts)
    rows = np.arange(len(chances))
    lengths = proposed[rows, np.argmax(fits, axis=1)]  # (n, 2)
    taken = fits.any(axis=1) & (chances[:, 0] < probability)
    lengths = np.where(taken[:, None], lengths, 0)
    starts = np.minimum((places * (sides - lengths + 1)).astype(np.int64), sides - lengths)
    return np.concatenate([starts, lengths], axis=1).astype(np.int32)
