"""Corruptions by scaling, compression and deformation."""

import io

import numpy as np
from PIL import Image
from scipy import ndimage

PUBLISHED = 224  # pixels, of the images that ImageNet-C's constants are for


def pixelate(image, share, rng):
    """Scaled down to `share` of its sides by means over boxes, and up again."""
    height, width = image.shape[:2]
    small = (max(int(width * share), 1), max(int(height * share), 1))
    picture = to_picture(image).resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)
    return of_picture(picture, image.shape)


def jpeg_compression(image, quality, rng):
    """Through JPEG of a quality, 1 to 95."""
    file = io.BytesIO()
    to_picture(image).save(file, "JPEG", quality=quality)
    with Image.open(file) as picture:
        return of_picture(picture, image.shape)


def elastic_transform(image, constants, rng):
    """Sheared by three points that move, then stretched here and there by a smooth random field.

    `constants`: strength of the field, its smoothness, how far the points move; in sides of the image. Those of
    ImageNet-C are shares of 244 pixels for images of 224, as the authors note; the table holds that ratio.
    """
    height, width = image.shape[:2]
    strength, smoothness, shift = (constant * min(height, width) for constant in constants)
    centre, arm = np.array([height // 2, width // 2], "float64"), min(height, width) // 3
    start = centre + np.array([[arm, arm], [arm, -arm], [-arm, -arm]])
    end = start + rng.uniform(-shift, shift, start.shape)
    if arm:
        image = _sheared(image, start, end)
    fields = [
        ndimage.gaussian_filter(rng.uniform(-1, 1, (height, width)), smoothness, mode="reflect", truncate=3) * strength
        for _ in range(2)
    ]
    rows, columns = np.mgrid[:height, :width]
    where = np.stack([rows + fields[0], columns + fields[1]])
    return np.stack(
        [ndimage.map_coordinates(image[..., k], where, order=1, mode="reflect") for k in range(image.shape[-1])],
        axis=-1,
    )


def _sheared(image, start, end):
    """The image moved so that three points `(row, column)` go from `start` to `end`."""
    # Rows of (row, column, 1); solved for what takes an output pixel to where it comes from.
    matrix = np.linalg.lstsq(np.c_[end, np.ones(3)], start, rcond=None)[0]
    return np.stack(
        [
            ndimage.affine_transform(image[..., k], matrix[:2].T, matrix[2], order=1, mode="mirror")
            for k in range(image.shape[-1])
        ],
        axis=-1,
    )


def to_picture(image):
    """Floats in 0 to 1, `(height, width, 1 or 3)`, as Pillow's image."""
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype("uint8")
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def of_picture(picture, shape):
    """Pillow's image as floats in 0 to 1."""
    return np.asarray(picture, "float64").reshape(shape) / 255
