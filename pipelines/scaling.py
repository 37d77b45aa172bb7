"""Stored images at another size: scaled once where the result fits into memory, else batch by batch in the streams."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pipelines import augment
from pipelines.examples import Examples

CACHE_LIMIT_BYTES = 4 * 2**30
BATCH = 1000


def fits_in_memory(count: int, image_shape: tuple[int, int, int]) -> bool:
    """Whether `count` uint8 images take `CACHE_LIMIT_BYTES` at most."""
    return count * int(np.prod(image_shape)) <= CACHE_LIMIT_BYTES


def scale(examples: Examples, size: tuple[int, int]) -> Examples:
    """Examples whose images have `size` (height, width), scaled with antialiasing.

    Args:
        examples: with `images` in memory.
    """
    height, width, channels = examples.images.shape[1:]
    if tuple(size) == (height, width):
        return examples
    images = np.empty((len(examples), *size, channels), np.uint8)
    for start in range(0, len(examples), BATCH):
        batch = tf.gather(examples.images, examples.rows[start : start + BATCH])
        images[start : start + BATCH] = augment.to_uint8(augment.resize(batch, *size))
    return Examples.in_memory(images, examples.labels)
