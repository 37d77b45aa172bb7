"""The operations of RandAugment, AutoAugment, colour jitter and others on one image: Pillow's, each with its number.

Pillow is what the papers' authors used. Places that an operation leaves empty take the mean colour of the data.

Source: Cubuk et al. 2018, arXiv:1805.09501, table 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

Fill = tuple[int, ...]
OF_COLOURS = ("color", "hue")  # grey images have none


def _moved(image, matrix, fill):
    """Pixel (x, y) of the result is that at (a x + b y + c, d x + e y + f), the nearest one, as the authors have it."""
    fill = fill if len(fill) > 1 else fill[0]
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=fill)


def _rotated(image, degrees, fill):
    return image.rotate(degrees, Image.Resampling.NEAREST, fillcolor=fill if len(fill) > 1 else fill[0])


def _hue_turned(image, turn, fill):
    """The hue, a byte in Pillow's HSV, turned by a share of the circle."""
    if image.mode != "RGB":
        return image
    hue, saturation, value = image.convert("HSV").split()
    step = round(turn * 256) % 256
    hue = hue.point([(level + step) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def _enhanced(kind):
    return lambda image, factor, fill: kind(image).enhance(factor)


# Name -> function (image, number, fill). What the number is:
OPERATIONS: dict[str, Callable] = {
    "identity": lambda image, number, fill: image,
    "shear_x": lambda image, slope, fill: _moved(image, (1, slope, 0, 0, 1, 0), fill),  # columns a row
    "shear_y": lambda image, slope, fill: _moved(image, (1, 0, 0, slope, 1, 0), fill),  # rows a column
    "translate_x": lambda image, pixels, fill: _moved(image, (1, 0, pixels, 0, 1, 0), fill),  # to the left
    "translate_y": lambda image, pixels, fill: _moved(image, (1, 0, 0, 0, 1, pixels), fill),  # upwards
    "rotate": _rotated,  # degrees, counter-clockwise
    "autocontrast": lambda image, number, fill: ImageOps.autocontrast(image),
    "invert": lambda image, number, fill: ImageOps.invert(image),
    "equalize": lambda image, number, fill: ImageOps.equalize(image),
    "solarize": lambda image, threshold, fill: ImageOps.solarize(image, threshold),  # levels from it on are inverted
    "posterize": lambda image, bits, fill: ImageOps.posterize(image, int(bits)),  # that are kept
    "color": _enhanced(ImageEnhance.Color),  # 0 grey, 1 as it is, as for the three below
    "contrast": _enhanced(ImageEnhance.Contrast),  # 0 the mean level
    "brightness": _enhanced(ImageEnhance.Brightness),  # 0 black
    "sharpness": _enhanced(ImageEnhance.Sharpness),  # 0 smoothed
    "hue": _hue_turned,  # turns, 1 is the circle
    "flip_y": lambda image, number, fill: ImageOps.flip(image),  # upside down
    "blur": lambda image, deviation, fill: image.filter(ImageFilter.GaussianBlur(deviation)),  # pixels
}


def apply(image: np.ndarray, steps: Iterable[tuple[str, float]], fill: Fill) -> np.ndarray:
    """Operations on an image, one after the other.

    Args:
        image: `(h, w, c)` uint8, c 1 or 3.
        steps: pairs of a name of `OPERATIONS` and its number.
        fill: a level for each channel, for places that are left empty.
    Returns: `(h, w, c)` uint8.
    """
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))
    for name, number in steps:
        picture = OPERATIONS[name](picture, number, fill)
    return np.asarray(picture).reshape(image.shape)
