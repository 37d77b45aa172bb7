"""The image files of one part of the data."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Listing:
    """The image files of one part and their labels."""

    paths: list[str]
    labels: np.ndarray

    def take(self, indices: np.ndarray) -> Listing:
        return Listing([self.paths[i] for i in indices], self.labels[indices])

    @classmethod
    def joined(cls, listings) -> Listing:
        """The files of several parts, one after another."""
        listings = list(listings)
        return cls([path for one in listings for path in one.paths], np.concatenate([one.labels for one in listings]))
