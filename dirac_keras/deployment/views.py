"""Test-time augmentation: the outputs of a network averaged over views of an image."""

import numpy as np

from dirac_keras.errors import UserError, check_choice

VIEWS = ("none", "flip", "flip_shift")
SHIFT = 1  # pixels


def views_of(images, name):
    """The views of images and the weight of each, which sum to 1.

    | name | views | weight of each |
    |---|---|---|
    | `"none"` | the images | 1 |
    | `"flip"` | the images, their mirror images | 1/2 |
    | `"flip_shift"` | the images, their mirror images | 1/4 |
    | | both moved by a pixel up and left, both by one down and right | 1/8 |

    Args:
        images: array `(batch, height, width, channels)`. What a shift leaves free is filled by reflection.
        name: one of `VIEWS`.

    Yields: `(array of the shape of images, weight)`.
    Raises: ValueError: if `name` is unknown, or an image is too small to be reflected.
    Source: Jordan 2024, arXiv:2404.00498, section 3.5 ("multi-crop" of six views).
    """
    check_choice("test_time_augmentation", name, VIEWS)
    if name == "none":
        yield images, 1.0
        return
    shifted = [(images, 1.0)]
    if name == "flip_shift":
        if min(images.shape[1:3]) <= SHIFT:
            raise UserError(
                f"test_time_augmentation='flip_shift' needs images of {SHIFT + 1} pixels or more on each side. "
                f"Received images of {images.shape[1]} x {images.shape[2]}: take 'flip'."
            )
        height, width = images.shape[1:3]
        padded = np.pad(images, [(0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)], mode="reflect")
        corners = (padded[:, :height, :width], padded[:, 2 * SHIFT :, 2 * SHIFT :])
        shifted = [(images, 0.5), *((corner, 0.25) for corner in corners)]
    for view, weight in shifted:
        yield view, weight / 2
        yield view[:, :, ::-1], weight / 2


def averaged_over_views(run, name):
    """A function of images like `run`, its outputs averaged over the views of `name`.

    Logits are averaged as such, probabilities likewise.

    Args:
        run: function of images `(batch, height, width, channels)` -> array `(batch, units)`.
        name: one of `VIEWS`.
    """
    if name == "none":
        return run

    def run_views(images):
        return sum(weight * np.asarray(run(view), "float32") for view, weight in views_of(np.asarray(images), name))

    return run_views
