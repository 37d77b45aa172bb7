"""What every reader returns, and the checks that all data pass."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from pipelines.build import Examples
from pipelines.spec import DataError

RESIZE_CHUNK = 1024  # images resized at once


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset as it was read, before it is limited, split and described.

    Args:
        train, validation, test: `Examples`; validation may be None.
        image_shape: (height, width, channels) of the model's input.
        class_names: one name per label.
        mean, std: per channel in 0..255; None: measured on train.
        resize: as in `DataSpec`.
        augmentation: name in `augment.AUGMENTATIONS` that "auto" means here.
    """

    train: Examples
    validation: Examples | None
    test: Examples
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    resize: int | None
    augmentation: str


def from_arrays(name, train, test, class_names, *, mean, std, augmentation, image_size=None):
    """A `Source` of images in memory.

    Args:
        train, test: pairs `(images, labels)`: uint8 `(n, h, w, c)` and integers `(n,)`.
        image_size: side in pixels that the images are scaled to, once, or None.
    """
    examples = []
    for split, (images, labels) in (("train", train), ("test", test)):
        check_labels(f"{name}, split {split}", labels, len(class_names))
        examples.append(Examples.in_memory(scale(images, image_size), labels))
    shape = tuple(int(side) for side in examples[0].images.shape[1:])
    return Source(examples[0], None, examples[1], shape, tuple(class_names), mean, std, None, augmentation)


def scale(images, image_size):
    """`(n, h, w, c)` uint8 scaled to `(n, image_size, image_size, c)` uint8."""
    if image_size is None or images.shape[1:3] == (image_size, image_size):
        return images
    chunks = []
    for start in range(0, len(images), RESIZE_CHUNK):
        chunk = tf.image.resize(images[start : start + RESIZE_CHUNK], (image_size, image_size), antialias=True)
        chunks.append(tf.cast(tf.clip_by_value(tf.round(chunk), 0.0, 255.0), tf.uint8).numpy())
    return np.concatenate(chunks)


def check_labels(where, labels, num_classes):
    """Raise DataError unless there are labels and all lie in 0..num_classes - 1."""
    labels = np.asarray(labels)
    if len(labels) == 0:
        raise DataError(f"{where} is empty: no images with labels were found.")
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise DataError(
            f"{where}: labels must lie in 0..{num_classes - 1} for {num_classes} classes. "
            f"Received {len(wrong)} outside, such as {int(wrong[0])}: the data are damaged or of another set."
        )


def measure(images):
    """Mean and standard deviation per channel of uint8 `(n, h, w, c)`, as tuples; a constant channel has std 1."""
    channels = images.shape[-1]
    counts = np.stack([np.bincount(np.ravel(images[..., c]), minlength=256) for c in range(channels)])
    values = np.arange(256)
    mean = counts @ values / counts.sum(axis=1)
    variance = counts @ values**2 / counts.sum(axis=1) - mean**2
    std = np.where(variance > 1e-6, np.sqrt(np.maximum(variance, 0)), 1.0)
    return tuple(float(round(m, 4)) for m in mean), tuple(float(round(s, 4)) for s in std)
