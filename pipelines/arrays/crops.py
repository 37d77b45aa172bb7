"""Random resized crops: a part of an image, scaled to the size that a model takes. As whole numbers in uint8."""

from __future__ import annotations

import numpy as np

from pipelines.arrays import exif
from pipelines.arrays.decoder import JPEG_SIGNATURE, Jpeg, decode, pillow_image
from pipelines.arrays.pixels import crop_window
from pipelines.decoding.rule import Rule

JPEG_RATIOS = (8, 4, 2)  # a JPEG decoder gives the image at these fractions of its size, at a fraction of the work


def random_resized_crop(data: bytes, heights, widths, place, image_shape, rule: Rule) -> np.ndarray:
    """A random part of an encoded image, `image_shape`.

    A JPEG whose part is at least twice as large as the result is decoded at a half, a quarter or an eighth of its size.

    Args:
        heights, widths, place: of one image, as in `pipelines.draws.Draws`.
    """
    height, width, channels = image_shape
    jpeg = Jpeg(data, rule) if data.startswith(JPEG_SIGNATURE) else None
    if jpeg is None or jpeg.is_inked:
        image = decode(data, channels, rule)
        return scaled_part(image, crop_window(image.shape[:2], heights, widths, place), (height, width))
    size = exif.seen_size(jpeg.size, jpeg.orientation)
    window = crop_window(size, heights, widths, place)
    reduction = min(window[2] // height, window[3] // width)
    ratio = next((ratio for ratio in JPEG_RATIOS if ratio <= reduction), 1)
    window = tuple(side // ratio for side in exif.stored_window(window, size, jpeg.orientation))
    part = scaled_part(jpeg.stored(channels, ratio), window, exif.seen_size((height, width), jpeg.orientation))
    return exif.turn(part, jpeg.orientation)


def scaled_part(image: np.ndarray, window, size) -> np.ndarray:
    """The window `(top, left, height, width)` of a uint8 image `(h, w, c)`, scaled to `size`.

    Bilinear with antialiasing, in Pillow's integers: the draws differ from those of the reader in TensorFlow in any
    case, and to compute its floats takes longer.
    """
    from PIL import Image

    top, left, height, width = window
    part = image[top : top + height, left : left + width]
    if part.shape[:2] == tuple(size):
        return part
    part = pillow_image(np.ascontiguousarray(part[..., 0] if part.shape[2] == 1 else part))
    return np.asarray(part.resize(tuple(size)[::-1], Image.Resampling.BILINEAR)).reshape(*size, -1)
