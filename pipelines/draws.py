"""All random choices of training batch `k`, as a function of (seed, k): which examples, how each is augmented.

Whoever computes a batch takes these draws: the host's threads, a program on the device, one of several processes. So a
run is the same wherever its data lie, whatever number of steps is compiled together, and it resumes at any step.

The bits are Philox's, a generator that needs no state: its key is (seed, purpose), its counter the step. They are taken
raw. NumPy keeps a bit generator's stream the same in all its versions, but not what its distributions make of it.

Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Philox 4x64).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np

from pipelines.augmentation import CROP_AREA, CROP_ASPECT, CROP_ATTEMPTS, Augmentation

# Streams of random numbers that must not meet. A new purpose takes a new number, and the others stay as they are.
ORDER, SHIFT, FLIP, CROP, FIRST_FLIP = 0, 1, 2, 3, 4
OPERATIONS, ERASE, MIX = 5, 6, 7  # of `pipelines.additions`, for both readers


class Draws(NamedTuple):
    """What chance says of one training batch of n images; with `BatchDraws.chunk` each array has the steps in front.

    Fields:
        positions: `(n,)` int64, which of the training examples they are.
        rows, columns: `(n,)` int32 in 0..2 * padding, the corner of each window in the padded image.
        flips: `(n,)` bool, which images are mirrored left to right after that.
        heights, widths: `(n, attempts)` float32, sides of the proposed crops, in units of the square root of the
            image's area; None without `resized_crop`.
        place: `(n, 2)` float32 in [0, 1), where in the free rows and columns the crop lies; None likewise.
    """

    positions: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    flips: np.ndarray
    heights: np.ndarray | None = None
    widths: np.ndarray | None = None
    place: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class BatchDraws:
    """`draws(step)` of a training part.

    Args:
        num_examples: of the training part, at least `batch_size`.
        batch_size: images a step.
        seed: int in 0..2**63 - 1.
        augmentation: what is drawn for an image.
    """

    num_examples: int
    batch_size: int
    seed: int
    augmentation: Augmentation

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the examples."""
        return self.num_examples // self.batch_size

    def positions(self, step: int) -> np.ndarray:
        """`(batch_size,)` int64: each epoch is a fresh permutation of all examples, cut into full batches."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return epoch_order(self.seed, self.num_examples, epoch)[place * self.batch_size : (place + 1) * self.batch_size]

    def __call__(self, step: int) -> Draws:
        """The draws of the batch of step `step`, counted from 0 over all epochs."""
        positions, count = self.positions(step), self.batch_size
        shifts = integers(self.seed, SHIFT, step, (2, count), 2 * self.augmentation.padding + 1)
        crops = crop_draws(self.seed, step, count) if self.augmentation.resized_crop else ()
        return Draws(positions, *shifts, self._flips(step), *crops)

    def chunk(self, start: int, count: int) -> Draws:
        """The draws of steps `start` .. `start + count - 1`, stacked: every array `(count, batch_size, ...)`."""
        steps = [self(step) for step in range(start, start + count)]
        return Draws(*(None if field[0] is None else np.stack(field) for field in zip(*steps, strict=True)))

    def _flips(self, step):
        if not self.augmentation.flip:
            return np.zeros(self.batch_size, bool)
        if self.augmentation.alternating:
            is_odd = step // self.steps_per_epoch % 2 == 1
            return first_flips(self.seed, self.num_examples)[self.positions(step)] ^ is_odd
        return integers(self.seed, FLIP, step, (self.batch_size,), 2).astype(bool)


@functools.lru_cache(maxsize=4)  # threads that prepare batches are at an epoch's end and at the next one's start
def epoch_order(seed: int, num_examples: int, epoch: int) -> np.ndarray:
    """A permutation of 0..num_examples - 1 as int64, read-only.

    The order of random numbers: of 64 bits each, two of a million are equal once in 37 million epochs, and then in a
    fixed order too.
    """
    order = np.argsort(bits(seed, ORDER, epoch, (num_examples,)), kind="stable").astype(np.int64)
    order.flags.writeable = False
    return order


@functools.lru_cache(maxsize=4)
def first_flips(seed: int, num_examples: int) -> np.ndarray:
    """`(num_examples,)` bool, read-only: which images alternating flips mirror in even epochs; others in odd ones."""
    flips = integers(seed, FIRST_FLIP, 0, (num_examples,), 2).astype(bool)
    flips.flags.writeable = False
    return flips


def crop_draws(seed: int, step: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(heights, widths, place)` as in `Draws`: area and place evenly, aspect ratio evenly on a log scale.

    Source: Szegedy et al. 2014, arXiv:1409.4842, section 6, in the form of torchvision's RandomResizedCrop.
    """
    shares = uniform(seed, CROP, step, (count, 2 * CROP_ATTEMPTS + 2)).astype(np.float64)
    areas, logs, place = np.split(shares, (CROP_ATTEMPTS, 2 * CROP_ATTEMPTS), axis=1)
    areas = CROP_AREA[0] + (CROP_AREA[1] - CROP_AREA[0]) * areas
    low, high = map(math.log, CROP_ASPECT)
    ratios = np.exp(low + (high - low) * logs)
    sides = (np.sqrt(areas / ratios), np.sqrt(areas * ratios), place)
    return tuple(values.astype(np.float32) for values in sides)


def uniform(seed: int, purpose: int, number: int, shape: tuple[int, ...]) -> np.ndarray:
    """float32 in [0, 1), in steps of 2**-24."""
    return (bits(seed, purpose, number, shape) >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def integers(seed: int, purpose: int, number: int, shape: tuple[int, ...], limit: int) -> np.ndarray:
    """int32 in 0..limit - 1; one is preferred to another by less than `limit` / 2**32."""
    halves = bits(seed, purpose, number, shape) >> np.uint64(32)
    return (halves * np.uint64(limit) >> np.uint64(32)).astype(np.int32)


def bits(seed: int, purpose: int, number: int, shape: tuple[int, ...]) -> np.ndarray:
    """uint64 of 64 random bits each: `number` 0, 1, ... of a seed and a purpose are streams that never meet."""
    # The lower two words of the counter count the numbers of a stream: 2**128 of them.
    generator = np.random.Philox(counter=[0, 0, number, 0], key=[seed, purpose])
    return generator.random_raw(math.prod(shape)).reshape(shape)
