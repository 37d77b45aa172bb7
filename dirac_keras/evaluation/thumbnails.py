"""Images of a data set at a size that a page shows side by side."""

import numpy as np
from PIL import Image

SIDE = 128  # pixels


def thumbnail(pixels, side=SIDE):
    """An image, small ones enlarged by whole numbers, their pixels seen; large ones scaled down.

    Args:
        pixels: uint8 `(height, width, 1 or 3)`.
        side: int, about the longer side.

    Returns: uint8 `(h, w)` or `(h, w, 3)`.
    """
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    longest = max(pixels.shape[:2])
    if longest <= side:
        times = max(round(side / longest), 1)
        return np.repeat(np.repeat(pixels, times, axis=0), times, axis=1)
    size = tuple(max(round(length * side / longest), 1) for length in pixels.shape[1::-1])
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
