"""A perceptual hash of images, and the pairs of images whose hashes differ in few bits.

The hash is dHash: of a grey image scaled to 9 x 8, whether each pixel is brighter than its left neighbour, 64 bits;
and of one scaled to 8 x 9, than its upper one, 64 more. Source: N. Krawetz, "Kind of Like That", 2013. The package
imagehash has it for one image at a time; here it is of arrays of thousands.
"""

from __future__ import annotations

import numpy as np

SIDE = 8
BITS = 2 * SIDE * SIDE
BLOCK = (64, 2048)  # pairs that are compared at once: their words stay in a processor's cache
CHUNK = 1000  # images that are scaled at once
ROUNDING = 0.01  # levels; without it the bits of an even surface are those of its rounding
GREY = {1: (1.0,), 3: (0.299, 0.587, 0.114)}
_PARITY = np.array([bin(value).count("1") for value in range(2**16)], np.uint8)


def scaled(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images `(n, h, w, c)` at another size `(height, width)`, each pixel the mean of its area; float32."""
    rows, columns = (_areas(*sides) for sides in zip(images.shape[1:3], size, strict=True))
    result = np.tensordot(images.astype(np.float32), rows, ((1,), (1,)))  # (n, w, c, height)
    return np.tensordot(result, columns, ((1,), (1,))).transpose(0, 2, 3, 1)  # (n, height, width, c)


def _areas(pixels, target):
    """`(target, pixels)`: how much of each pixel lies in each of the target's."""
    edges = np.arange(target + 1) * (pixels / target)
    low, high = edges[:-1, None], edges[1:, None]
    places = np.arange(pixels)
    shares = np.clip(np.minimum(high, places + 1) - np.maximum(low, places), 0, None)
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def hashes(images: np.ndarray) -> np.ndarray:
    """`(n, 2)` uint64: the 128 bits of each image.

    Args:
        images: `(n, h, w, c)` uint8, of 1 or 3 channels; of others the first one or three count.
    """
    channels = 3 if images.shape[-1] >= 3 else 1
    bits = []
    for start in range(0, len(images), CHUNK):
        grey = images[start : start + CHUNK, ..., :channels].astype(np.float32) @ np.array(GREY[channels], np.float32)
        across = scaled(grey[..., None], (SIDE, SIDE + 1))[..., 0]
        down = scaled(grey[..., None], (SIDE + 1, SIDE))[..., 0]
        parts = across[:, :, 1:] > across[:, :, :-1] + ROUNDING, down[:, 1:] > down[:, :-1] + ROUNDING
        bits.append(np.packbits(np.concatenate([part.reshape(len(grey), -1) for part in parts], 1), axis=1))
    return np.ascontiguousarray(np.concatenate(bits)).view(np.uint64)


def close_pairs(words: np.ndarray, distance: int, most: int) -> tuple[np.ndarray, int]:
    """All pairs of hashes that differ in few bits.

    Args:
        words: `(n, 2)` uint64.
        distance: bits in which they may differ.
        most: pairs at most. Of more, those of the largest distances are left out, all of a distance.
    Returns: `(k, 3)` int64 `first, second, distance` with `first < second`, and the distance that was searched.
    """
    found, count = [], 0
    for start in range(0, len(words), BLOCK[0]):
        ours = words[start : start + BLOCK[0]]
        for other in range(start, len(words), BLOCK[1]):
            theirs = words[other : other + BLOCK[1]]
            bits = _ones(ours[:, None, 0] ^ theirs[None, :, 0])
            bits += _ones(ours[:, None, 1] ^ theirs[None, :, 1])
            near = bits <= distance
            if near.any():
                i, j = np.nonzero(near)
                after = j + other > i + start
                found.append(np.stack([i + start, j + other, bits[i, j]], 1).astype(np.int64)[after])
                count += len(found[-1])
        while count > most and distance > 0:
            distance -= 1
            found = [pairs[pairs[:, 2] <= distance] for pairs in found]
            count = sum(map(len, found))
    return (np.concatenate(found) if found else np.empty((0, 3), np.int64)), distance


def _ones(words):
    """Bits that are 1."""
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.bitwise_count(words)
    halves = np.ascontiguousarray(words).view(np.uint16).reshape(*words.shape, 4)
    return _PARITY[halves].sum(-1, dtype=np.uint8)
