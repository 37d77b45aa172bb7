"""Which corruptions there are, and their constants at five strengths.

Source: Hendrycks & Dietterich 2019, "Benchmarking neural network robustness to common corruptions and perturbations",
arXiv:1903.12261, section 4; the constants are those of the authors' programs that made CIFAR-10-C (32 x 32 pixels,
`make_cifar_c.py`) and ImageNet-C (224 x 224, `make_imagenet_c.py`).
"""

import dataclasses
from collections.abc import Callable

from dirac_keras.evaluation.corruptions import blur, digital, noise, weather

STRENGTHS = (1, 2, 3, 4, 5)
SMALL = 64  # pixels: an image with a shorter side below has the constants of CIFAR-10-C
_ELASTIC = 244 / digital.PUBLISHED


@dataclasses.dataclass(frozen=True)
class Corruption:
    """One corruption.

    Attributes:
        name: str, as in the published data sets.
        apply: function of an image of floats, constants and a generator; see `noise`.
        small, large: tuples of the constants at strengths 1 to 5, of CIFAR-10-C and of ImageNet-C.
        is_common: bool, whether it is one of the 15 whose mean the paper reports; the others are its extra ones.
        needs_colour: bool.
    """

    name: str
    apply: Callable
    small: tuple
    large: tuple
    is_common: bool = True
    needs_colour: bool = False

    def constants(self, shape, strength):
        """The constants for an image of a shape `(height, width, ...)`."""
        return (self.small if min(shape[:2]) < SMALL else self.large)[strength - 1]


def _zooms(stops, steps):
    return tuple((1, stop, step) for stop, step in zip(stops, steps, strict=True))


_LISTED = (
    Corruption("gaussian_noise", noise.gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    Corruption("shot_noise", noise.shot_noise, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    Corruption("impulse_noise", noise.impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    Corruption(
        "defocus_blur",
        blur.defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    Corruption(
        "glass_blur",
        blur.glass_blur,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    Corruption(
        "motion_blur",
        blur.motion_blur,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    Corruption(
        "zoom_blur",
        blur.zoom_blur,
        _zooms((1.06, 1.11, 1.16, 1.21, 1.26), (0.01,) * 5),
        _zooms((1.11, 1.16, 1.21, 1.26, 1.31), (0.01, 0.01, 0.02, 0.02, 0.03)),
    ),
    Corruption(
        "snow",
        weather.snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    Corruption(
        "fog",
        weather.fog,
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    Corruption("brightness", weather.brightness, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    Corruption("contrast", weather.contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    Corruption(
        "elastic_transform",
        digital.elastic_transform,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        tuple(
            tuple(part * _ELASTIC for part in parts)
            for parts in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
        ),
    ),
    Corruption("pixelate", digital.pixelate, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    Corruption("jpeg_compression", digital.jpeg_compression, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
    Corruption("speckle_noise", noise.speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2), (0.15, 0.2, 0.35, 0.45, 0.6), False),
    Corruption("gaussian_blur", blur.gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1), (1, 2, 3, 4, 6), False),
    Corruption(
        "saturate",
        weather.saturate,
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        is_common=False,
        needs_colour=True,
    ),
)
CORRUPTIONS = {corruption.name: corruption for corruption in _LISTED}
# Name -> why it is not here.
LEFT_OUT = {
    "frost": "it lays photographs of frost over the images, which do not come with this package",
    "spatter": "it needs OpenCV's edges and distances, which this package does not install",
}
