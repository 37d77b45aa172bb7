"""Which pixel of the skip's tensor a carried channel holds at each place, through strides and padding."""

import dataclasses
import itertools

import numpy as np

from dirac_keras.conversion.steps import output_size
from dirac_keras.folding.refused import Refused

_OPEN_SIDES = range(32, 40)  # stand for a side that is open; strides up to 8 are told apart


@dataclasses.dataclass
class Places:
    """Carried channels hold at place j what the tensor has at pixel `j * stride + start`, on each spatial axis.

    Args:
        sizes: spatial sides of the tensor, None where open.
        rank: int, spatial axes.
    """

    sizes: tuple
    rank: int

    def __post_init__(self):
        self.stride, self.start = [1] * self.rank, [0] * self.rank
        self._cases = []  # on each axis, for each side that it may have: (side of the tensor, side now, first, end)
        for size in self.sizes:
            sides = [size] if size is not None else list(_OPEN_SIDES)
            self._cases.append([(side, side, 0, side) for side in sides])

    def pass_through(self, step):
        """Behind a layer that pads each channel with zeros, or keeps every so many pixels."""
        self._move(step, step.window.before, [0] * self.rank)

    def dirac_tap(self, step, target):
        """The tap of a convolution that brings `start` next to `target`; the places move with it.

        Raises: Refused: if there is none that sees only pixels of the tensor.
        """
        window, dilation = step.window, getattr(step.layer, "dilation_rate", None) or (1,) * self.rank
        taps = []
        for axis in range(self.rank):
            ideal = window.before[axis] + (target[axis] - self.start[axis]) // self.stride[axis]
            last = window.taps[axis] - 1
            taps.append(min(max(ideal, 0), last) // dilation[axis] * dilation[axis])
        self._move(step, window.before, taps)
        return tuple(taps)

    def taps_of_skip(self, step, skip):
        """Taps of a convolution that sees what each tap of the skip's window sees, where that is not zero.

        Returns: dict, tap of the skip -> tap of the step.
        Raises: Refused: if it does not see all of them, or not at the same pixels.
        """
        window, dilation = step.window, getattr(step.layer, "dilation_rate", None) or (1,) * self.rank
        axes = []
        for axis in range(self.rank):
            if self.stride[axis] * window.strides[axis] != skip.strides[axis]:
                raise Refused(f"has another stride than the skip, {skip.strides[axis]}")
            found = {}
            for tap in _used_taps(skip, axis):
                distance = tap - skip.before[axis] - self.start[axis]
                place = window.before[axis] + distance // self.stride[axis]
                if distance % self.stride[axis] or not 0 <= place < window.taps[axis] or place % dilation[axis]:
                    raise Refused("sees other pixels than the skip")
                found[tap] = place
            self._check(axis, step, skip, found)
            axes.append(found)
        return {taps: tuple(axes[axis][tap] for axis, tap in enumerate(taps)) for taps in itertools.product(*axes)}

    def lacking(self, step, skip):
        """Taps that a convolution lacks to see what the skip's window sees: `[(before its own, behind them)]`."""
        window, lacking = step.window, []
        for axis in range(self.rank):
            taps = _used_taps(skip, axis)
            first, last = (
                window.before[axis] + (tap - skip.before[axis] - self.start[axis]) // self.stride[axis]
                for tap in (taps[0], taps[-1])
            )
            lacking.append((max(-first, 0), max(last - window.taps[axis] + 1, 0)))
        return lacking

    def _check(self, axis, step, skip, found):
        """Raises: Refused: if a border pixel was lost on the way, or a tap beyond the border reads something."""
        window = step.window
        for side, now, first, end in self._cases[axis]:
            behind = _side_behind(step, axis, now, self.rank)
            for i in range(behind):
                for tap, place in found.items():
                    pixel = i * skip.strides[axis] - skip.before[axis] + tap
                    at = i * window.strides[axis] - window.before[axis] + place
                    if (0 <= pixel < side) != (first <= at < end):
                        raise Refused("does not see the pixels at the border that the skip takes")

    def _move(self, step, before, taps):
        for axis in range(self.rank):
            stride = step.window.strides[axis]
            move = taps[axis] - before[axis]
            self.start[axis] += move * self.stride[axis]
            self.stride[axis] *= stride
            cases = []
            for side, now, first, end in self._cases[axis]:
                behind = _side_behind(step, axis, now, self.rank)
                start = max(-((move - first) // stride), 0)
                stop = min((end - 1 - move) // stride + 1, behind)
                cases.append((side, behind, start, stop))
            self._cases[axis] = cases


def _used_taps(window, axis):
    """Places on an axis where a kernel is not zero, as dilation leaves them; one where it is zero everywhere."""
    others = tuple(other for other in range(window.kernel.ndim) if other != axis)
    return np.flatnonzero(np.any(window.kernel != 0.0, axis=others)).tolist() or [0]


def _side_behind(step, axis, now, rank):
    sizes = [64] * rank
    sizes[axis] = now
    return output_size(step, tuple(sizes))[axis]
