"""`scale * x + shift`: what a BatchNormalization is at inference, and what moves through the graph."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """A scale and a shift of a tensor, float64 arrays of its rank that broadcast against it.

    An axis along which nothing differs has length 1. So the scale per channel of images is `(1, 1, 1, channels)`, and
    what moves, joins or cuts axes does the same to these arrays.
    """

    scale: np.ndarray
    shift: np.ndarray

    def __post_init__(self):
        arrays = np.broadcast_arrays(self.scale, self.shift)
        for axis in range(arrays[0].ndim):
            first = [array.take([0], axis) for array in arrays]
            if all(np.all(array == one) for array, one in zip(arrays, first, strict=True)):
                arrays = first
        for name, array in zip(("scale", "shift"), arrays, strict=True):
            object.__setattr__(self, name, np.asarray(array, "float64"))

    @classmethod
    def of_axis(cls, rank, axis, scale, shift):
        """From one number per channel, `(channels,)`, for tensors with `rank` axes and the channels on `axis`."""
        shape = [1] * rank
        shape[axis] = -1
        scale, shift = np.broadcast_arrays(scale, shift)
        return cls(scale.reshape(shape), shift.reshape(shape))

    @classmethod
    def identity(cls, rank):
        return cls(np.ones([1] * rank), np.zeros([1] * rank))

    def is_identity(self):
        return bool(np.all(self.scale == 1.0) and np.all(self.shift == 0.0))

    def has_shift(self):
        return bool(np.any(self.shift != 0.0))

    def differs_along(self, axes):
        return any(self.scale.shape[axis] > 1 for axis in axes)

    def map(self, function):
        """With `function` applied to the array of scales and that of shifts, as to the tensor."""
        return Affine(function(self.scale), function(self.shift))

    def times_shift(self, factor):
        return Affine(self.scale, self.shift * factor)

    def along(self, axes, sizes):
        """`Numbers` of the shape `sizes`, one axis for each of `axes`; None if they differ along another axis."""
        others = [axis for axis in range(self.scale.ndim) if axis not in axes]
        if self.differs_along(others):
            return None

        def values(array):
            return np.broadcast_to(array.transpose([*axes, *others]).reshape([array.shape[a] for a in axes]), sizes)

        return Numbers(values(self.scale), values(self.shift))

    def has_same_numbers(self, other):
        return Numbers(self.scale, self.shift).has_same_numbers(Numbers(other.scale, other.shift))


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """A scale and a shift in the shape in which one layer absorbs them, for most `(channels,)`."""

    scale: np.ndarray
    shift: np.ndarray

    def has_same_numbers(self, other):
        return np.array_equal(self.scale, other.scale) and np.array_equal(self.shift, other.shift)
