"""EXIF orientation, as `pipelines.decoding.orientation` reads and applies it."""

from __future__ import annotations

import struct

import numpy as np

ORIENTATION, SHORT, LONG = 0x0112, 3, 4
UPRIGHT = 1
# Of each orientation: whether the image is mirrored top to bottom and left to right, after its sides are exchanged.
MIRRORED = ((0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (0, 0), (0, 1), (1, 1), (1, 0))


def in_exif(block: bytes) -> int:
    """The orientation in an EXIF block, 1..8; 1 where it says none or cannot be read.

    Source: CIPA DC-008 (Exif 2.32), 4.6.4.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 10:
        return UPRIGHT
    start = struct.unpack_from(order + "i", block, 4)[0]
    if not 8 <= start <= len(block) - 2:
        return UPRIGHT
    count = struct.unpack_from(order + "H", block, start)[0]
    found = UPRIGHT
    for at in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        name, kind = struct.unpack_from(order + "HH", block, at)
        if name == ORIENTATION and kind in (SHORT, LONG):
            (value,) = struct.unpack_from(order + ("H" if kind == SHORT else "I"), block, at + 8)
            found = value if 1 <= value <= 8 else found
    return found


def in_jpeg(segments) -> int:
    """The orientation in a JPEG; `segments` as `pipelines.arrays.headers.segments` gives them."""
    for letter, content in segments:
        if letter == 0xE1 and content.startswith(b"Exif\0\0"):
            return in_exif(content[6:])
    return UPRIGHT


def turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """`(h, w, c)` as it was seen."""
    if swaps_sides(orientation):
        image = image.transpose(1, 0, 2)
    rows, columns = (slice(None, None, -1 if mirrored else 1) for mirrored in MIRRORED[orientation])
    return image[rows, columns]


def swaps_sides(orientation: int) -> bool:
    """Whether the picture is as high as the stored image is wide."""
    return orientation >= 5


def seen_size(size, orientation: int):
    """Height and width of the picture, from those of the stored image, or the other way round."""
    return tuple(size)[::-1] if swaps_sides(orientation) else tuple(size)


def stored_window(window, size, orientation: int) -> tuple[int, int, int, int]:
    """Where in the stored image a window of the picture lies; both are `(top, left, height, width)`.

    Args:
        size: height and width of the picture.
    """
    corner = [
        whole - at - side if mirrored else at
        for whole, at, side, mirrored in zip(size, window[:2], window[2:], MIRRORED[orientation], strict=True)
    ]
    return (*seen_size(corner, orientation), *seen_size(window[2:], orientation))
