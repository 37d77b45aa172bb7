"""Images that an artefact is calibrated and compared on: uint8, of the model's size, with their classes."""

import dataclasses

import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted

LARGEST = 255.0
GIVEN = "of the given images"
RANDOM = "images of random pixels"
CALIBRATION = "calibration images, most of which the integers were fitted to"
SLACK = 1.0  # grey levels that a float may lie outside 0 to 255: an interpolation overshoots


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Images and, where known, their classes.

    Attributes:
        pixels: array uint8 `(images, height, width, channels)`.
        labels: array of int `(images,)`, or None.
        what: words behind their number in a report, such as `"test images of digits"`.
    """

    pixels: np.ndarray
    labels: np.ndarray | None = None
    what: str = GIVEN

    def __len__(self):
        return len(self.pixels)

    def first(self, count):
        """The first ones."""
        labels = None if self.labels is None else self.labels[:count]
        return dataclasses.replace(self, pixels=self.pixels[:count], labels=labels)


def as_pictures(data, spec, argument="calibration", most=None):
    """What a user gives as images, checked.

    Args:
        data: `Pictures`; array of images; pair `(images, labels)`; or an iterable of batches of either, such as a
            `tf.data.Dataset`. Integers are pixels, 0 to 255; floats are what the model is fed with, and pixels are made
            of them again.
        spec: `ImageSpec` of the model.
        argument: name, for errors.
        most: int, images that are taken at most, the first ones; None: all.

    Returns: `Pictures`.
    Raises: ValueError: if they are none, or of another size, type or range, or their classes do not fit.
    """
    if isinstance(data, Pictures):
        return data if most is None else data.first(most)
    pixels, labels = [], []
    for batch in _batches(data, argument):
        images, classes = _pair(batch)
        pixels.append(_as_pixels(np.asarray(images), spec, argument))
        labels.append(None if classes is None else _as_labels(np.asarray(classes), len(pixels[-1]), spec, argument))
        if most is not None and sum(map(len, pixels)) >= most:
            break
    if not sum(map(len, pixels)):
        raise UserError(f"{argument} holds no images. Give some hundred of those that the model will see.")
    known = all(part is not None for part in labels)
    found = Pictures(np.concatenate(pixels), np.concatenate(labels) if known else None)
    return found if most is None else found.first(most)


def fed(pixels, spec):
    """What the model is fed with for pixels: `(pixels - mean) / std`, float32."""
    mean, std = (np.asarray(side, "float32") for side in (spec.mean, spec.std))
    return (pixels.astype("float32") - mean) / std


def _batches(data, argument):
    if isinstance(data, np.ndarray) or _is_pair(data) or hasattr(data, "__array__"):
        return [data]
    try:
        return iter(data)
    except TypeError:
        raise UserError(
            f"{argument} must be an array of images, (images, labels), or batches of either. Received {type(data)}."
        ) from None


def _is_pair(data):
    return isinstance(data, (tuple, list)) and len(data) == 2 and np.ndim(data[0]) == 4 and np.ndim(data[1]) in (1, 2)


def _pair(batch):
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and np.ndim(batch[0]) == 4:
        return batch
    return (batch[0] if isinstance(batch, tuple) else batch), None


def _as_pixels(images, spec, argument):
    if images.shape[1:] != spec.image_shape:
        raise UserError(
            f"{argument}: the model takes images of {_text(spec.image_shape)}, these are {_text(images.shape[1:])}. "
            "Give images of that size, or files, which are brought to it."
        )
    if images.dtype.kind in "iu":
        low, high = images.min(initial=0), images.max(initial=0)
        if low < 0 or high > LARGEST:
            raise UserError(f"{argument}: integers are pixels, 0 to 255. Received values of {low} to {high}.")
        return images.astype("uint8")
    if images.dtype.kind != "f":
        raise UserError(f"{argument} must be numbers. Received images of type {images.dtype}.")
    if not np.isfinite(images).all():
        raise UserError(f"{argument} holds values that are not finite (NaN or infinite).")
    values = images.astype("float64") * np.asarray(spec.std) + np.asarray(spec.mean)
    low, high = values.min(initial=0.0), values.max(initial=0.0)
    if low < -SLACK or high > LARGEST + SLACK:
        raise UserError(
            f"{argument}: floats are what the model is fed with, (pixel - mean) / deviation with mean {list(spec.mean)}"
            f" and deviation {list(spec.std)}; these would be pixels of {low:.0f} to {high:.0f}. Give pixels as uint8."
        )
    return np.clip(np.rint(values), 0, LARGEST).astype("uint8")


def _as_labels(labels, count, spec, argument):
    classes = len(spec.class_names)
    if labels.ndim == 2 and labels.shape[1] == classes:  # one-hot
        labels = labels.argmax(-1)
    labels = labels.reshape(-1)
    if len(labels) != count:
        raise UserError(
            f"{argument} must have a class for each image. Received {counted(count, 'image')}, "
            f"{counted(len(labels), 'class', 'classes')}."
        )
    if labels.dtype.kind not in "iu" or labels.min(initial=0) < 0 or labels.max(initial=0) >= classes:
        raise UserError(
            f"{argument}: the model has {classes} classes, numbered from 0. Received classes {labels.min(initial=0)} "
            f"to {labels.max(initial=0)}."
        )
    return labels.astype("int64")


def _text(shape):
    return "x".join(map(str, shape))
