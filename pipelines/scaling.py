"""Stored images at another size: scaled once where the result fits into memory, else batch by batch in the streams."""

from __future__ import annotations

import numpy as np

from pipelines.engines import find_engine
from pipelines.examples import Examples

CACHE_LIMIT_BYTES = 4 * 2**30
BATCH = 1000


def fits_in_memory(count: int, image_shape: tuple[int, int, int]) -> bool:
    """Whether `count` uint8 images take `CACHE_LIMIT_BYTES` at most."""
    return count * int(np.prod(image_shape)) <= CACHE_LIMIT_BYTES


def scale(examples: Examples, size: tuple[int, int], engine=None) -> Examples:
    """Examples whose images have `size` (height, width), scaled with antialiasing.

    Args:
        examples: with `images` in memory.
    """
    height, width, channels = examples.images.shape[1:]
    if tuple(size) == (height, width):
        return examples
    engine = engine or find_engine()
    images = np.empty((len(examples), *size, channels), np.uint8)
    for start in range(0, len(examples), BATCH):
        rows = examples.rows[start : start + BATCH]
        images[start : start + BATCH] = engine.scale(examples.images, rows, size)
    names = None if examples.names is None else examples.names[examples.rows]
    return Examples.in_memory(images, examples.labels, names)
