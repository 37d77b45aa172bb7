"""Images with the channels that a model takes: colours as their luminance, grey levels as equal colours."""

from __future__ import annotations

import dataclasses

import numpy as np

from pipelines.examples import DataError
from pipelines.printable import counted
from pipelines.readers.raw import Raw

LUMINANCE = np.array((19595, 38470, 7471), np.uint32)  # ITU-R BT.601 in 65536ths, as Pillow has it
BATCH = 1000


def in_channels(raw: Raw, channels: int | None) -> Raw:
    """A data set whose images have so many channels.

    Args:
        raw: as its reader gives it. Images that are decoded for each batch are decoded with so many.
        channels: 1 (grey) or 3 (colour); None for those it has.
    Raises: DataError: if its images have neither one nor three.
    """
    own = raw.image_shape[2]
    if channels in (None, own):
        return raw
    if own not in (1, 3):
        raise DataError(
            f"channels={channels} was given for images of {counted(own, 'channel')}: convert them yourself."
        )
    images, parts = {}, {}
    for part in ("train", "test", "validation"):
        examples = getattr(raw, part)
        if examples is not None and examples.images is not None:
            key = id(examples.images)  # parts of one source share the images
            if key not in images:
                images[key] = convert(np.asarray(examples.images), channels)
            examples = dataclasses.replace(examples, images=images[key])
        parts[part] = examples
    # Three equal channels have the statistics of the one; those of a luminance are measured.
    statistics = [values * 3 if channels == 3 and values is not None else None for values in (raw.mean, raw.std)]
    return dataclasses.replace(
        raw, **parts, image_shape=(*raw.image_shape[:2], channels), mean=statistics[0], std=statistics[1]
    )


def convert(images: np.ndarray, channels: int) -> np.ndarray:
    """`(n, h, w, channels)` uint8 of images with three channels or one."""
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    grey = np.empty((*images.shape[:3], 1), np.uint8)
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH].astype(np.uint32)
        grey[start : start + BATCH, ..., 0] = (part @ LUMINANCE + 2**15) >> 16
    return grey
