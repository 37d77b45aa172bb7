"""Corruptions by weather and light."""

import numpy as np

from dirac_keras.evaluation.corruptions.blur import moved, zoomed

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: grey of red, green, blue


def snow(image, constants, rng):
    """Flakes that fall: noise, enlarged, cut off below, blurred along a line; the image becomes whiter."""
    mean, deviation, zoom, threshold, radius, sigma, keep = constants
    flakes = zoomed(rng.normal(mean, deviation, (*image.shape[:2], 1)), zoom)
    flakes = np.where(flakes < threshold, 0.0, flakes)
    flakes = np.floor(np.clip(flakes, 0, 1) * 255) / 255
    flakes = moved(flakes, radius, sigma, rng.uniform(-135, -45))
    whiter = np.maximum(image, grey(image) * 1.5 + 0.5)
    return keep * image + (1 - keep) * whiter + flakes + flakes[::-1, ::-1]


def fog(image, constants, rng):
    """A plasma of light of weight `amount` over the image, which keeps its brightest value."""
    amount, decay = constants
    top = image.max()
    height, width = image.shape[:2]
    cloud = plasma(max(height, width), decay, rng)[:height, :width, None]
    return (image + amount * cloud) * top / (top + amount)


def plasma(side, decay, rng):
    """A height map in 0 to 1 by the diamond-square algorithm.

    Args:
        side: int; the map's is the next power of two.
        decay: by how much the deviations shrink when the squares are halved.
        rng: `numpy.random.Generator`.

    Returns: `(n, n)`, `n >= side`. It joins itself at the borders.
    """
    size = 1 << max(int(side) - 1, 1).bit_length()
    heights = np.zeros((size, size))
    step, wobble = size, 100.0

    def mean_of(sums):
        return sums / 4 + wobble * rng.uniform(-wobble, wobble, sums.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = mean_of(pairs + np.roll(pairs, -1, axis=1))
        centres, corners = heights[half::step, half::step], heights[::step, ::step]
        beside = centres + np.roll(centres, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = mean_of(beside)
        above = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = mean_of(above)
        step, wobble = half, wobble / decay
    heights -= heights.min()
    return heights / heights.max()


def brightness(image, amount, rng):
    """The largest of red, green and blue grows by `amount`, hue and saturation stay: V of HSV.

    With H and S fixed, all channels are in proportion to V.
    """
    value = image.max(axis=-1, keepdims=True)
    raised = np.clip(value + amount, 0, 1)
    return np.where(value > 0, image * raised / np.where(value > 0, value, 1.0), raised)


def saturate(image, constants, rng):
    """S of HSV becomes `factor S + offset`, at most 1. A grey pixel has hue 0, which is red.

    With H and V fixed, the distances of the channels to V are in proportion to S.
    """
    factor, offset = constants
    value = image.max(axis=-1, keepdims=True)
    distance = value - image
    largest = distance.max(axis=-1, keepdims=True)  # S V
    is_grey = largest == 0
    saturation = np.where(is_grey, 0.0, largest / np.where(value > 0, value, 1.0))
    wanted = np.clip(saturation * factor + offset, 0, 1) * value
    direction = np.where(is_grey, np.array([0.0, 1.0, 1.0]), distance / np.where(is_grey, 1.0, largest))
    return value - direction * wanted


def contrast(image, factor, rng):
    """Distances to the mean of each channel shrink to `factor`."""
    means = image.mean(axis=(0, 1), keepdims=True)
    return (image - means) * factor + means


def grey(image):
    """`(height, width, 1)`: the luma of colours; a grey image as it is."""
    return image if image.shape[-1] == 1 else (image @ np.array(LUMA))[..., None]
