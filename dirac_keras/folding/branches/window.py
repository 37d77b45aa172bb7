"""`Window`: what a linear layer does to the neighbours of a pixel, whatever the layer; how two of them make one."""

from dataclasses import dataclass

import numpy as np

from dirac_keras.folding.refused import Refused

_LARGEST = 64  # taps along an axis


@dataclass(frozen=True, eq=False)
class Window:
    """`y[i] = sum over t of kernel[t] x[i * strides - before + t], + bias`, where x is 0 beyond its borders.

    Args:
        kernel: float64 array `(*taps, in_channels // groups, out_channels)`; a dilated one has zeros between its taps.
        bias: float64 array `(out_channels,)`.
        strides: tuple of int, one a spatial axis.
        before: tuple of int, taps before the first pixel of x, one a spatial axis. Negative: that many are skipped.
        is_padded: bool, whether any output reads beyond the borders of x.
        groups: int, of channels.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strides: tuple
    before: tuple
    is_padded: bool
    groups: int = 1

    @property
    def taps(self):
        return self.kernel.shape[:-2]

    @property
    def channels(self):
        """`(in_channels, out_channels)`."""
        return self.kernel.shape[-2] * self.groups, self.kernel.shape[-1]

    @property
    def is_channelwise(self):
        """Whether each channel is made of itself alone."""
        return self.kernel.shape[-2] == 1 and self.groups == self.kernel.shape[-1]

    def in_groups(self, groups):
        """The same with so many groups. Raises: Refused: if it has other ones."""
        if groups == self.groups:
            return self
        if not self.is_channelwise:
            raise Refused(f"has {_groups(self.groups)} where another branch has {_groups(groups)}")
        channels = self.groups
        size = channels // groups  # channels of a group
        kernel = np.zeros((*self.taps, size, channels))
        kernel[..., np.arange(channels) % size, np.arange(channels)] = self.kernel[..., 0, :]
        return Window(kernel, self.bias, self.strides, self.before, self.is_padded, groups)

    def placed(self, taps, before):
        """The kernel written into a larger one, `taps` with `before`. Raises: Refused: if it does not fit."""
        kernel = np.zeros((*taps, *self.kernel.shape[-2:]))
        starts = [theirs - mine for theirs, mine in zip(before, self.before, strict=True)]
        ends = [start + size for start, size in zip(starts, self.taps, strict=True)]
        # Empty margins need no place.
        first, last = _used(self.kernel)
        inside = all(
            start + low >= 0 and start + high < size
            for start, low, high, size in zip(starts, first, last, taps, strict=True)
        )
        if not inside:
            raise Refused(f"reads pixels that a window of {_by(taps)} does not")
        target = tuple(
            slice(max(start, 0), min(end, size)) for start, end, size in zip(starts, ends, taps, strict=True)
        )
        source = tuple(
            slice(place.start - start, place.stop - start) for place, start in zip(target, starts, strict=True)
        )
        kernel[target] = self.kernel[source]
        return kernel

    def reach(self):
        """`(lowest, highest)` pixel beside `i * strides` that is read, tuples of int."""
        first, last = _used(self.kernel)
        return (
            tuple(low - before for low, before in zip(first, self.before, strict=True)),
            tuple(high - before for high, before in zip(last, self.before, strict=True)),
        )

    @classmethod
    def identity(cls, channels, rank):
        """Of `channels` channels, with `rank` spatial axes."""
        ones = (1,) * rank
        return cls(np.ones((*ones, 1, channels)), np.zeros(channels), ones, (0,) * rank, False, channels)

    @classmethod
    def scaling(cls, scale, shift, rank):
        """`scale * x + shift`, a number for each channel."""
        scale, shift = np.broadcast_arrays(np.asarray(scale, "float64"), np.asarray(shift, "float64"))
        ones = (1,) * rank
        return cls(scale.reshape(*ones, 1, -1), shift.copy(), ones, (0,) * rank, False, scale.size)


def behind(first, second):
    """The `Window` of `second` that reads what `first` gives.

    Raises: Refused: if the two are no window, or would cost more than both.
    """
    if second.is_padded and not _is_zero_beyond(first):
        if np.any(first.bias != 0.0):
            raise Refused("pads with zeros what has a bias, which the zeros beyond the image do not have")
        raise Refused("pads with zeros what would not be zero beyond the image")
    strides = tuple(a * b for a, b in zip(first.strides, second.strides, strict=True))
    before = tuple(b * s + a for a, b, s in zip(first.before, second.before, first.strides, strict=True))
    groups = _common_groups(first, second)
    kernel = _composed(first, second, groups)
    bias = second.bias + _response(second, first.bias)
    return Window(kernel, bias, strides, before, first.is_padded or second.is_padded, groups)


def _response(window, values):
    """The output for an input that is `values[channel]` at every pixel, `(out_channels,)`, without the bias."""
    taps = window.kernel.sum(axis=tuple(range(window.kernel.ndim - 2)))  # (in of a group, out)
    by_group = taps.reshape(taps.shape[0], window.groups, -1)
    return np.einsum("igo,gi->go", by_group, values.reshape(window.groups, -1)).reshape(-1)


def _is_zero_beyond(window):
    """Whether what it gives, were it asked beyond its borders, is zero: it reads nothing of the image there."""
    is_one_pixel = all(size == 1 for size in window.taps)
    return is_one_pixel and not np.any(window.bias != 0.0) and all(place >= 0 for place in window.before)


def _common_groups(first, second):
    if first.groups == second.groups or second.is_channelwise:
        return first.groups
    if first.is_channelwise:
        return second.groups
    raise Refused(f"has {_groups(second.groups)} behind {_groups(first.groups)}")


def _composed(first, second, groups):
    """The kernel of `second` behind `first`: taps `t * strides + u`."""
    taps = [(size - 1) * stride + own for size, stride, own in zip(second.taps, first.strides, first.taps, strict=True)]
    if max(taps, default=1) > _LARGEST:
        raise Refused(f"would need a window of {_by(taps)}")
    inputs = (second if first.is_channelwise and not second.is_channelwise else first).kernel.shape[-2]
    kernel = np.zeros((*taps, inputs, second.kernel.shape[-1]))
    for t in np.ndindex(*second.taps):
        for u in np.ndindex(*first.taps):
            place = tuple(at * stride + own for at, stride, own in zip(t, first.strides, u, strict=True))
            kernel[place] += _product(first.kernel[u], second.kernel[t], first, second, groups)
    return kernel


def _product(a, b, first, second, groups):
    """`(in of a group, out)` of one tap of each; a channelwise one is a scale of the other's rows or columns."""
    if second.is_channelwise:
        return a * b
    if first.is_channelwise:
        return (b.reshape(b.shape[0], groups, -1) * a.reshape(groups, -1).T[..., None]).reshape(b.shape)
    products = [
        mine @ theirs for mine, theirs in zip(np.split(a, groups, axis=1), np.split(b, groups, axis=1), strict=True)
    ]
    return np.concatenate(products, axis=1)


def _used(kernel):
    """`(first, last)` tap that is not zero on each axis; the first one's where all are."""
    rank = kernel.ndim - 2
    filled = np.any(kernel != 0.0, axis=(-2, -1))
    if not filled.any():
        return (0,) * rank, (0,) * rank
    places = np.argwhere(filled)
    return tuple(places.min(axis=0)), tuple(places.max(axis=0))


def _groups(count):
    return f"{count} groups" if count > 1 else "one group"


def _by(sizes):
    return "x".join(map(str, sizes))
