"""Images that a small network learns labels or values of in a few epochs."""

import numpy as np


def drawn(count=160, seed=0):
    """Grey 8x8 images whose top, right and left parts are bright or not, and those three labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, (count, 3))
    images = generator.integers(0, 60, (count, 8, 8, 1))
    images[:, :3, 3:6] += 150 * labels[:, 0, None, None, None]
    images[:, :, 6:] += 150 * labels[:, 1, None, None, None]
    images[:, :, :2] += 150 * labels[:, 2, None, None, None]
    return images.astype(np.uint8), labels
