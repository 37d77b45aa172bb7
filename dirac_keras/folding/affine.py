"""`scale * x + shift` per channel: what a BatchNormalization is at inference, and what moves through the graph."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """One scale and one shift a channel.

    Args:
        axis: int, where the tensor has its channels; None if they lie on no one axis.
        scale, shift: arrays `(channels,)`, float64.
    """

    axis: int | None
    scale: np.ndarray
    shift: np.ndarray

    def on_axis(self, axis):
        return dataclasses.replace(self, axis=axis)

    def without_shift(self):
        return dataclasses.replace(self, shift=np.zeros_like(self.shift))

    def part(self, channels):
        """That of a slice of the channels."""
        return Affine(self.axis, self.scale[channels], self.shift[channels])

    def spread(self, parts, total):
        """That of `total` channels: this one on each of the slices `parts`, the identity elsewhere."""
        scale, shift = np.ones(total), np.zeros(total)
        for channels in parts:
            scale[channels], shift[channels] = self.scale, self.shift
        return Affine(self.axis, scale, shift)

    def flattened(self, positions):
        """That of a rank-2 tensor, in which the channels of each position follow one another."""
        return Affine(1, np.tile(self.scale, positions), np.tile(self.shift, positions))

    def has_same_numbers(self, other):
        return np.array_equal(self.scale, other.scale) and np.array_equal(self.shift, other.shift)
