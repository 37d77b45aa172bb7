"""The worst of many images, of which only so many are ever kept."""

import dataclasses
import heapq

import numpy as np


@dataclasses.dataclass(frozen=True)
class Kept:
    """An image that is kept.

    Attributes:
        index: int, its place in the data set's part.
        badness: float, what it is kept for.
        pixels: uint8 `(height, width, channels)`.
    """

    index: int
    badness: float
    pixels: np.ndarray


class Worst:
    """The images of the largest badness; of two alike the earlier one. Memory is that of `most` images.

    Args:
        most: int.
    """

    def __init__(self, most=24):
        self.most = most
        self._heap = []  # the least bad first; no two have the same index, so pixels are never compared

    def offer(self, start, badness, pixels_of):
        """Offer a batch.

        Args:
            start: int, index of its first image.
            badness: array `(batch,)`; -inf for images that are not bad.
            pixels_of: function of a place in the batch -> its pixels, called for those alone that are kept.
        """
        for place in np.argsort(-badness, kind="stable")[: self.most]:
            value = float(badness[place])
            key = (value, -(start + int(place)))
            is_full = len(self._heap) >= self.most
            if not np.isfinite(value) or (is_full and key <= self._heap[0][:2]):
                break
            entry = (*key, pixels_of(int(place)))
            (heapq.heapreplace if is_full else heapq.heappush)(self._heap, entry)

    def found(self):
        """List of `Kept`, the worst first."""
        return [Kept(-minus, badness, pixels) for badness, minus, pixels in sorted(self._heap, key=_order)]


def _order(entry):
    return -entry[0], -entry[1]
