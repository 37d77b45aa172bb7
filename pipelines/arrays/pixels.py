"""The operations of `pipelines.augment`, in NumPy: the same arguments give the same pixels."""

from __future__ import annotations

import functools

import numpy as np

from pipelines.arrays.resizing import resize_and_cut
from pipelines.augmentation import CROP_ASPECT

# A longer image is cut to its middle before it is scaled, as in `pipelines.augment`.
LARGEST_ASPECT = 16


def pixel_table(mean: tuple[float, ...], std: tuple[float, ...], parts: int = 1) -> np.ndarray:
    """`(255 * parts + 1, channels)` float32: what a model sees of each pixel value, `(value - mean) / std`.

    Args:
        parts: a power of two, values in a step between two levels.
    """
    values = np.arange(255 * parts + 1, dtype=np.float32) / np.float32(parts)
    return normalize(np.repeat(values[:, None], len(mean), 1), mean, std)


def normalize(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """`(images - mean) / std` as float32, per channel; images `(..., channels)` in 0..255."""
    images = np.asarray(images)
    scale, offset = _affine(tuple(mean), tuple(std), images.shape[-2] if images.ndim > 2 else 1)
    rows = images.reshape(-1, scale.size)
    result = np.multiply(rows, scale, dtype=np.float32)
    result += offset
    return result.reshape(images.shape)


@functools.lru_cache(maxsize=16)
def _affine(mean, std, width):
    """Factors and summands of a row of pixels: one long row is multiplied faster than many of three numbers."""
    scale = np.array([1.0 / s for s in std], np.float32)
    offset = np.array([-m / s for m, s in zip(mean, std, strict=True)], np.float32)
    return np.tile(scale, width), np.tile(offset, width)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Round to the nearest integer and clip to 0..255."""
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def shift_and_flip(images, rows, columns, flips, padding, mode="REFLECT") -> np.ndarray:
    """Pad, cut a window of the original size out of each image, and mirror some.

    Args:
        images: `(batch, h, w, c)`.
        rows, columns: `(batch,)` integers in 0..2 * padding, the window's corner in the padded image.
        flips: `(batch,)` bool, which images are mirrored left to right after the crop.
        padding, mode: as in `Augmentation`.
    Returns: `(batch, h, w, c)` of the type of `images`.
    """
    batch, height, width, channels = images.shape
    y = rows[:, None] + np.arange(height)  # (batch, h), in the padded image
    x = np.arange(width)
    x = columns[:, None] + np.where(np.asarray(flips, bool)[:, None], width - 1 - x, x)  # (batch, w)
    if mode == "REFLECT":
        y, x = _reflect(y - padding, height), _reflect(x - padding, width)
    elif padding:
        images = np.pad(images, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
        height, width = height + 2 * padding, width + 2 * padding
    image = np.arange(batch)[:, None, None]
    pixels = (image * height + y[:, :, None]) * width + x[:, None, :]  # (batch, h, w)
    return np.take(images.reshape(-1, channels), pixels, axis=0)


def _reflect(positions, size):
    """Positions up to `size - 1` outside 0..size - 1, mirrored at the border pixels."""
    return size - 1 - np.abs(size - 1 - np.abs(positions))


def middle(height: int, width: int) -> tuple[int, int, int, int]:
    """Of an image the part that evaluation scales: `(top, left, height, width)`."""
    sides = []
    for side in (height, width):
        cut = min(side, LARGEST_ASPECT * min(height, width))
        cut -= (side - cut) % 2 * (cut > 1)  # the middle stays where it is
        sides.append(cut)
    return (height - sides[0]) // 2, (width - sides[1]) // 2, *sides


def shorter_side_target(height: int, width: int, shorter: int) -> tuple[int, int]:
    """Height and width of an image once its shorter side has `shorter` pixels, aspect kept."""
    factor = np.float32(shorter) / np.float32(min(height, width))
    return tuple(max(int(np.rint(np.float32(side) * factor)), shorter) for side in (height, width))


def evaluation_pixels(image: np.ndarray, image_shape, resize_to: int | None = None) -> np.ndarray:
    """What evaluation sees of an image: shorter side to `resize_to`, centre crop; whole numbers in float32.

    Args:
        image: `(h, w, c)` of any size.
        image_shape: `(height, width, channels)` of the result.
        resize_to: pixels, at least the larger of height and width; None scales straight to `image_shape`.
    """
    sides = tuple(image_shape[:2])
    target, corner = sides, (0, 0)
    if resize_to is not None:
        top, left, height, width = middle(*image.shape[:2])
        image = image[top : top + height, left : left + width]
        target = shorter_side_target(height, width, resize_to)
        corner = tuple((whole - side) // 2 for whole, side in zip(target, sides, strict=True))
    return np.rint(resize_and_cut(image, target, corner, sides))  # weights of sum 1 cannot leave 0..255


def evaluation_view(image: np.ndarray, image_shape, resize_to: int | None = None) -> np.ndarray:
    """`evaluation_pixels` as uint8."""
    return evaluation_pixels(image, image_shape, resize_to).astype(np.uint8)


def crop_window(size, heights, widths, place, aspect=CROP_ASPECT) -> tuple[int, int, int, int]:
    """The window of a random resized crop, `(top, left, height, width)`.

    Args:
        size: height and width of the image.
        heights, widths, place: of one image, as in `pipelines.draws.Draws`; the first pair that lies inside the image
            is taken, else the largest centred window with an aspect ratio within `aspect`.
    Source: Szegedy et al. 2014, arXiv:1409.4842, section 6, in the form of torchvision's RandomResizedCrop.
    """
    size, sides = np.asarray(size, np.int64), np.asarray(size, np.float32)
    unit = np.sqrt(sides[0] * sides[1])
    proposed = np.rint(np.stack([heights, widths]).astype(np.float32) * unit).astype(np.int64)  # (2, attempts)
    fits = np.all((proposed > 0) & (proposed <= size[:, None]), axis=0)
    if fits.any():
        chosen = proposed[:, np.argmax(fits)]
        free = size - chosen
        at = (np.asarray(place, np.float32) * (free + 1).astype(np.float32)).astype(np.int64)
        corner = np.minimum(at, free)
    else:
        largest = np.rint(sides[::-1] * np.array((1 / aspect[0], aspect[1]), np.float32)).astype(np.int64)
        chosen = np.minimum(size, largest)
        corner = (size - chosen) // 2
    return tuple(int(value) for value in (*corner, *chosen))
