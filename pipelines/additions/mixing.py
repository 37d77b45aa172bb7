"""Mixup and cutmix: each image with the next one of its batch, the last with the first.

The order of a batch is chance's, so the next image is any other one. A worker that has a part of a batch needs one
image more than its own.

Shares are multiples of 1/256: products with pixels are then whole numbers that float32 holds, so that a mixture is the
same wherever it is computed, in whatever order and with fused operations or without.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from pipelines.additions.boxes import cut_boxes

STEPS = 256  # of a share
MIX_CHANCES = 4
CHUNK = 2**17  # values that are blended at a time: they stay in the cache


class Mixture(NamedTuple):
    """How n images are mixed with their partners.

    Fields:
        shares: `(n,)` int32 in 0..256, of the image itself in each pixel outside its box.
        boxes: `(n, 4)` int32, where the partner's pixels are taken as they are, see `boxes`.
        label_shares: `(n,)` float32 in 0..1, of the image's own label.
    """

    shares: np.ndarray
    boxes: np.ndarray
    label_shares: np.ndarray


def draw_mixture(mixup: float, cutmix: float, chances: np.ndarray, size: tuple[int, int]) -> Mixture:
    """A `Mixture` of n images.

    Args:
        mixup, cutmix: alphas, of which 0 is none; with both, one of them with equal chance for each image.
        chances: `(n, MIX_CHANCES)` in [0, 1): which of both, the share, the middle of the box.
        size: (height, width).
    Source: Zhang et al. 2017, arXiv:1710.09412, equation 1; Yun et al. 2019, arXiv:1905.04899, equations 1 and 2, the
        label's share by the area that is left after the box is cut at the border, as in the authors' code. Both draw
        one share for a batch; here each image has its own.
    """
    takes_box = np.full(len(chances), bool(cutmix)) if not (mixup and cutmix) else chances[:, 0] >= 0.5
    shares = np.zeros(len(chances), np.int32)
    for alpha, takes in ((mixup, ~takes_box), (cutmix, takes_box)):
        if alpha:
            drawn = np.searchsorted(_distribution(alpha), chances[:, 1].astype(np.float64), side="right")
            shares = np.where(takes, drawn, shares).astype(np.int32)
    boxes = cut_boxes(shares / STEPS, chances[:, 2:4], size)
    boxes = np.where(takes_box[:, None], boxes, np.int32(0))
    left = 1 - boxes[:, 2].astype(np.float64) * boxes[:, 3] / (size[0] * size[1])
    label_shares = np.where(takes_box, left, shares / STEPS).astype(np.float32)
    return Mixture(np.where(takes_box, np.int32(STEPS), shares), boxes, label_shares)


@functools.lru_cache(maxsize=16)
def _distribution(alpha):
    """`(256,)`, the probability that Beta(alpha, alpha), rounded to a multiple of 1/256, is at most 0, 1, ... 255."""
    from scipy.special import betainc

    return betainc(alpha, alpha, (np.arange(STEPS) + 0.5) / STEPS)


def mix_images(images: np.ndarray, partners: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Pixels of the mixtures, float32, multiples of 1/256; images and partners are `(n, h, w, c)` uint8."""
    mixed = np.empty(images.shape, np.float32)
    count = max(1, CHUNK // math.prod(images.shape[1:]))
    for start in range(0, len(images), count):
        part = slice(start, start + count)
        mixed[part] = _blended(images[part], partners[part], mixture.shares[part])
    for k in np.flatnonzero(mixture.boxes[:, 2]):
        top, left, height, width = mixture.boxes[k]
        box = k, slice(top, top + height), slice(left, left + width)
        mixed[box] = partners[box]
    return mixed


def _blended(images, partners, shares):
    if (shares == STEPS).all():
        return images
    own = shares.astype(np.float32)[:, None, None, None]
    mixed = own * images
    mixed += (STEPS - own) * partners
    mixed *= np.float32(1 / STEPS)
    return mixed


def mix_labels(labels: np.ndarray, partners: np.ndarray, label_shares: np.ndarray) -> np.ndarray:
    """`(n, k)` float32 from rows of shares, of several labels or of numbers, `(n, k)`."""
    own = label_shares[:, None]
    return own * labels + (np.float32(1) - own) * partners


def one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """`(n, classes)` float32 of the numbers of classes, `(n,)`; rows stay as they are."""
    labels = np.asarray(labels)
    if labels.ndim == 2:
        return labels.astype(np.float32)
    return (labels[:, None] == np.arange(num_classes)).astype(np.float32)
