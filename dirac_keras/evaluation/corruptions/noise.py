"""Corruptions that draw each pixel's error: noise of sensors and of transmission.

Each function takes an image `(height, width, channels)` of floats in 0 to 1, the constants of a strength and a
`numpy.random.Generator`, and returns floats that need not lie in 0 to 1. So do those of the other files here.
"""

import numpy as np


def gaussian_noise(image, scale, rng):
    """Noise of the same deviation everywhere: weak light."""
    return image + rng.normal(scale=scale, size=image.shape)


def shot_noise(image, photons, rng):
    """Poisson noise: a white pixel counts `photons` of them."""
    return rng.poisson(image * photons) / photons


def impulse_noise(image, amount, rng):
    """Salt and pepper: a share `amount` of all values becomes 0 or 1, each as often."""
    drawn = rng.random(image.shape)
    return np.where(drawn < amount / 2, 0.0, np.where(drawn < amount, 1.0, image))


def speckle_noise(image, scale, rng):
    """Noise in proportion to the value."""
    return image + image * rng.normal(scale=scale, size=image.shape)
