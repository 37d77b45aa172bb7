"""Samples drawn at random from a stream of unknown length."""

import numpy as np


class Reservoir:
    """A sample of fixed size and seed, each image as likely as any other, whatever the batches were.

    Source: Vitter 1985, doi.org/10.1145/3147.3165, algorithm R.
    """

    def __init__(self, size, seed=0):
        self.size = size
        self._seen = 0
        self._random = np.random.default_rng(seed)
        self._samples = []

    def offer(self, *arrays):
        """Arrays with a sample axis; each sample is copied only if it is drawn."""
        for k in range(len(arrays[0])):
            self._seen += 1
            place = len(self._samples)
            if place >= self.size:
                place = int(self._random.integers(self._seen))
                if place >= self.size:
                    continue
            sample = tuple(np.array(array[k]) for array in arrays)
            self._samples[place : place + 1] = [sample]

    def arrays(self):
        """The arrays as they were offered, `size` samples at most; none if nothing was."""
        return [np.stack(parts) for parts in zip(*self._samples, strict=True)]
