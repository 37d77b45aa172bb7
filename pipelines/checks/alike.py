"""Images that a data set has twice: the same pixels, or nearly the same.

Two images are near duplicates if their hashes differ in `DISTANCE` bits at most and their pixels correlate by
`CORRELATION` or more, the mean of each channel taken away. Of the pairs of CIFAR-10 that this finds across train and
test, most are the same photograph, stored otherwise or shifted by a pixel; the rule misses what is mirrored, cropped or
of other colours: Barz & Denzler 2020, arXiv:1902.00423, found 3.3 % of the test images of CIFAR-10 in its training part
by a network's features and by eye.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from pipelines.checks.hashing import CHUNK, close_pairs, hashes, scaled

DISTANCE = 22  # bits of 128; beyond it few pairs are alike, and their number grows fivefold every 3 bits (CIFAR-10)
CORRELATION = 0.9
SIDE = 32  # of the images that are correlated
MOST_PAIRS = 200_000
FLAT = 2.0  # deviation in 0..255 below which an image has no structure that could be compared


@dataclasses.dataclass(frozen=True, eq=False)
class Alike:
    """Pairs of images, by their positions in all parts one behind the other.

    Args:
        exact: `(k, 2)` int64: each image with the first one of the same pixels.
        near: `(k, 2)` int64, without those of `exact`.
        distances, correlations: `(k,)` of `near`.
        searched: bits up to which hashes were compared; fewer than `DISTANCE` where very many are alike.
        flat: number of images of one colour, which are not compared with others.
    """

    exact: np.ndarray
    near: np.ndarray
    distances: np.ndarray
    correlations: np.ndarray
    searched: int
    flat: int


def find_alike(images: np.ndarray, digests: np.ndarray | None = None) -> Alike:
    """The pairs among some images.

    Args:
        images: `(n, h, w, c)` uint8.
        digests: `(n,)` of any type, equal for images of the same pixels; None: of `images` themselves.
    """
    digests = digests_of(images) if digests is None else digests
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    leaders = first[group.reshape(-1)]  # the first image of the same pixels
    places = np.arange(len(images))
    exact = np.stack([leaders, places], 1)[leaders != places]
    small = thumbnails(images)
    chosen = np.flatnonzero(leaders == places)
    has_structure = small[chosen].astype(np.float32).std((1, 2)).max(-1) >= FLAT if len(chosen) else np.empty(0, bool)
    compared = chosen[has_structure]
    pairs, searched = close_pairs(hashes(small[compared]), DISTANCE, MOST_PAIRS)
    correlations = _correlations(small, compared[pairs[:, :2]])
    near = correlations >= CORRELATION
    order = np.argsort(-correlations[near], kind="stable")
    pairs, correlations = pairs[near][order], correlations[near][order]
    return Alike(exact, compared[pairs[:, :2]], pairs[:, 2], correlations, searched, int(len(chosen) - len(compared)))


def digests_of(images) -> np.ndarray:
    """`(n,)` bytes, of each image's pixels."""
    return np.array([hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in images], "U32")


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Images whose sides are `SIDE` at most; uint8."""
    size = tuple(min(SIDE, side) for side in images.shape[1:3])
    if size == images.shape[1:3]:
        return images
    parts = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    return np.concatenate([np.rint(scaled(part, size)).astype(np.uint8) for part in parts])


def _correlations(images, pairs):
    def structure(rows):
        part = images[rows].astype(np.float32)
        part -= part.mean((1, 2), keepdims=True)
        part = part.reshape(len(part), -1)
        return part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6)

    parts = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    return np.concatenate(
        [np.empty(0, np.float32), *((structure(part[:, 0]) * structure(part[:, 1])).sum(1) for part in parts)]
    )
