"""How the channels of a skip go through activations unchanged: as they are, shifted into bounds, or in pairs."""

import dataclasses

import numpy as np

from dirac_keras.folding.refused import Refused

# Bounds are proven for real numbers; floats may pass them by their rounding.
_MARGIN = 1e-5


@dataclasses.dataclass(frozen=True, eq=False)
class Carried:
    """What is carried in place of a tensor x: `z = encode x + offset`, and back: `x = decode z + constant`.

    Args:
        encode: float64 array `(carried channels, channels)`; with rows of zeros for channels that only fill groups.
        offset: `(carried channels,)`.
        decode: `(channels, carried channels)`.
        constant: `(channels,)`.
        direct, shifted, pairs: int, channels of x of each kind.
    """

    encode: np.ndarray
    offset: np.ndarray
    decode: np.ndarray
    constant: np.ndarray
    direct: int
    shifted: int
    pairs: int

    @property
    def count(self):
        return len(self.offset)

    @property
    def has_shift(self):
        return bool(np.any(self.offset != 0.0))

    def filled(self, multiple):
        """With zeros up to a multiple of so many channels."""
        missing = -self.count % multiple
        return dataclasses.replace(
            self,
            encode=np.pad(self.encode, ((0, missing), (0, 0))),
            offset=np.pad(self.offset, (0, missing)),
            decode=np.pad(self.decode, ((0, 0), (0, missing))),
        )

    def in_words(self):
        words = [
            (self.direct, "as they are"),
            (self.shifted, "scaled and shifted into the bounds of the activation"),
            (self.pairs, "as max(x, 0) and max(-x, 0)"),
        ]
        return ", ".join(f"{count} {how}" for count, how in words if count)


def carry(bounds, activations, what, in_pairs=False):
    """The way to carry a tensor through activations.

    Args:
        bounds: `Bounds` of the tensor.
        activations: list of `(name, Activation)` on the way.
        what: str, the tensor in words.
        in_pairs: bool, whether pairs take the place of shifts where they can: an offset that is far larger than the
            values, as that of bounds that are wide, costs their digits.

    Returns: `Carried`.
    Raises: Refused: if some channels cannot be carried, with the reason.
    """
    low = max((one.low for _, one in activations), default=-np.inf)
    high = min((one.high for _, one in activations), default=np.inf)
    if low >= high:
        raise Refused(f"{_names(activations)} on the way would change what is carried")
    channels = len(bounds.low)
    direct = (bounds.low >= low) & (bounds.high <= high)
    fits = np.isfinite(bounds.low) & (np.isfinite(bounds.high) if np.isfinite(high) else True) & np.isfinite(low)
    shifted = ~direct & fits
    if in_pairs and shifted.any() and _slope_of_pairs(activations) is not None:
        shifted = np.zeros_like(shifted)
    paired = ~direct & ~shifted
    slope = _slope_of_pairs(activations) if paired.any() else 0.0
    if slope is None:
        raise Refused(_why_not_carried(bounds, paired, low, activations, what))
    scale, offset = np.ones(channels), np.zeros(channels)
    with np.errstate(invalid="ignore"):
        largest = np.maximum(np.abs(bounds.low), np.abs(bounds.high))
        # Of a channel that hardly changes, or not at all, the bounds may be wider than they need to be.
        width = np.maximum(bounds.high - bounds.low, np.where(largest > 0.0, 0.01 * largest, 1.0))
        if np.isfinite(high):
            scale = np.where(shifted, (high - low) * (1.0 - 2.0 * _MARGIN) / width, 1.0)
            offset = np.where(shifted, low + _MARGIN * (high - low) - bounds.low * scale, 0.0)
        elif shifted.any():
            margin = _MARGIN * np.where(np.isfinite(width), width, np.abs(bounds.low) + 1.0)
            offset = np.where(shifted, low - bounds.low + margin, 0.0)
    places = np.concatenate([np.arange(channels), np.flatnonzero(paired)])
    signs = np.concatenate([np.ones(channels), -np.ones(int(paired.sum()))])
    count = len(places)
    encode, decode = np.zeros((count, channels)), np.zeros((channels, count))
    encode[np.arange(count), places] = signs * scale[places]
    # LeakyReLU of x and of -x: their difference is (1 + slope) x.
    decode[places, np.arange(count)] = signs / scale[places] / np.where(paired[places], 1.0 + slope, 1.0)
    offsets = np.where(signs > 0.0, offset[places], 0.0)
    return Carried(encode, offsets, decode, -offset / scale, int(direct.sum()), int(shifted.sum()), int(paired.sum()))


def _why_not_carried(bounds, paired, low, activations, what):
    """Tells a sign that is not known from a value without an upper bound."""
    count = f"{int(paired.sum())} of {len(paired)} channels"
    if np.all(np.isfinite(bounds.low[paired])):
        return f"the upper bound of {what} is not known ({count}), and {_names(activations)} on the way would cut it"
    return (
        f"the sign of {what} is not known ({count} have no bounds), and {_names(activations)} on the way would cut it"
    )


def _slope_of_pairs(activations):
    """The slope below zero that a pair of x and -x goes through; None if it would not come out."""
    if any(one.low != 0.0 or one.high != np.inf or one.slope is None for _, one in activations):
        return None
    slopes = {one.slope for _, one in activations}
    if slopes <= {0.0}:
        return 0.0
    return slopes.pop() if len(activations) == 1 else None


def _names(activations):
    return ", ".join(dict.fromkeys(f"'{name}'" for name, _ in activations))
