"""Corruptions that mix neighbouring pixels."""

import numpy as np
from scipy import ndimage


def gaussian_blur(image, sigma, rng):
    """A Gaussian of `sigma` pixels."""
    return smoothed(image, sigma)


def smoothed(image, sigma):
    """A Gaussian of `sigma` pixels over height and width; what lies outside is the nearest pixel."""
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4.0)


def defocus_blur(image, constants, rng):
    """A disk of `radius` pixels, its edge smoothed by `alias` pixels: a lens out of focus."""
    kernel = disk(*constants)
    return ndimage.correlate(image, kernel[:, :, None], mode="mirror")


def disk(radius, alias):
    """A disk that sums to 1, `(side, side)`, smoothed over 3 pixels, or over 5 where its radius is above 8."""
    reach = max(8, radius)
    line = np.arange(-reach, reach + 1)
    inside = (line[:, None] ** 2 + line[None] ** 2 <= radius**2).astype("float64")
    taps = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    window = np.exp(-(taps**2) / (2 * alias**2))
    for axis in (0, 1):
        inside = ndimage.correlate1d(inside, window, axis=axis, mode="mirror")
    used = np.flatnonzero(inside.sum(axis=0) > 0)
    inside = inside[used[0] : used[-1] + 1, used[0] : used[-1] + 1]  # zeros cost time
    return inside / inside.sum()


def glass_blur(image, constants, rng):
    """Pixels take the value of one near them, between two Gaussians: frosted glass.

    Their offsets lie in `[-reach, reach)`. Each takes a copy: the authors' program means to swap both, but its arrays
    are views, so that the one it took from stays; the published images are of that.
    """
    sigma, reach, rounds = constants
    height, width, channels = image.shape
    rough = np.floor(smoothed(image, sigma) * 255) / 255
    source = list(range(height * width))
    rows, columns = range(height - reach, reach, -1), range(width - reach, reach, -1)
    for _ in range(rounds):
        offsets = rng.integers(-reach, reach, (max(len(rows), 0), max(len(columns), 0), 2))
        steps = (offsets[..., 0] * width + offsets[..., 1]).tolist()
        for row, line in zip(rows, steps, strict=True):
            for column, step in zip(columns, line, strict=True):
                here = row * width + column
                source[here] = source[here + step]
    rough = rough.reshape(-1, channels)[source].reshape(image.shape)
    return smoothed(rough, sigma)


def motion_blur(image, constants, rng):
    """The camera moves along a line of up to 45 degrees to the horizontal."""
    return moved(image, *constants, rng.uniform(-45, 45))


def moved(image, radius, sigma, degrees):
    """A one-sided Gaussian along a line, as ImageMagick's motion blur, which the authors call; edges are repeated.

    Args:
        image: `(height, width, channels)`.
        radius: pixels; the line has `2 radius + 1` of them.
        sigma: pixels, of the Gaussian.
        degrees: the line's direction.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    angle = np.deg2rad(degrees)
    down = np.ceil(steps * np.sin(angle) - 0.5).astype(int)
    right = np.ceil(steps * np.cos(angle) - 0.5).astype(int)
    height, width = image.shape[:2]
    blurred = np.zeros_like(image)
    for weight, y, x in zip(weights / weights.sum(), down, right, strict=True):
        rows, columns = (np.clip(np.arange(side) + move, 0, side - 1) for side, move in ((height, y), (width, x)))
        blurred += weight * image[rows[:, None], columns]
    return blurred


def zoom_blur(image, factors, rng):
    """The mean of the image and of enlarged ones: the camera comes nearer. `factors`: start, stop and step."""
    factors = np.arange(*factors)
    return (image + sum(zoomed(image, factor) for factor in factors)) / (len(factors) + 1)


def zoomed(image, factor):
    """The middle of an image, enlarged to the image's size."""
    sides = image.shape[:2]
    crops = [int(np.ceil(side / factor)) for side in sides]
    starts = [(side - crop) // 2 for side, crop in zip(sides, crops, strict=True)]
    middle = image[starts[0] : starts[0] + crops[0], starts[1] : starts[1] + crops[1]]
    large = ndimage.zoom(middle, (factor, factor, 1), order=1)
    starts = [(grown - side) // 2 for grown, side in zip(large.shape, sides, strict=False)]
    return large[starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]]
