"""The images that quantization looks at: drawn from a user's data, and checked before anything is computed."""

import dataclasses

import keras
import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.graph.drawing import Reservoir

LEAST = 16  # images; below, ranges and moments say nothing
FEW = 128  # images, from which on nothing is said
COUNT = 512
HELD_OUT = 0.25  # of the images, which no weight is fitted to: they tell how good the result is


@dataclasses.dataclass(frozen=True)
class CalibrationSet:
    """Images for quantization.

    Attributes:
        images: float32 array `(count, ...)`, scaled as the model takes them.
        labels: int array `(count,)`, or None.
        available: int, images that the data had.
        seed: int, of the draw.
        notes: tuple of str, what the reader should know.
    """

    images: np.ndarray
    labels: np.ndarray | None
    available: int
    seed: int
    notes: tuple = ()

    def __len__(self):
        return len(self.images)

    def split(self, held_out=HELD_OUT):
        """`(CalibrationSet to fit to, CalibrationSet to measure on)`, drawn at random with the seed."""
        order = np.random.default_rng(self.seed).permutation(len(self))
        count = max(1, round(held_out * len(self)))
        return tuple(self._part(np.sort(part)) for part in (order[count:], order[:count]))

    def _part(self, places):
        labels = None if self.labels is None else self.labels[places]
        return dataclasses.replace(self, images=self.images[places], labels=labels)


def calibration_set(data, model, count=COUNT, seed=0, labels=None, num_classes=None):
    """Draw and check images for quantization.

    Args:
        data: array of images, tuple `(images, labels)`, or an iterable of such as batches, scaled as the model takes
            them.
        model: `keras.Model` of one input.
        count: int, the most images that are drawn.
        seed: int, of the draw.
        labels: whole numbers, one an image, where `data` is an array.
        num_classes: int, classes that the labels may be of; None: what the model gives.

    Returns: `CalibrationSet`.
    Raises: ValueError: if the images are of another size, too few, not finite or all alike, or the labels do not fit.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < LEAST:
        raise UserError(f"count must be a whole number of at least {LEAST} images. Received count={count!r}.")
    if len(model.inputs) != 1:
        raise UserError(f"model must have one input to be calibrated. Received {len(model.inputs)}.")
    reservoir, seen, has_labels = Reservoir(count, seed), 0, True
    for images, of in _batches(data, labels):
        images = _checked(images, model, seen)
        seen += len(images)
        reservoir.offer(images, np.zeros(len(images), int) - 1 if of is None else _labels(of, len(images)))
        has_labels = has_labels and of is not None
    if seen < LEAST:
        raise UserError(
            f"calibration needs at least {LEAST} images, better {COUNT}. Received {seen}. Give more `calibration` data."
        )
    images, of = reservoir.arrays()
    if np.ptp(images) == 0:
        raise UserError(f"calibration images are all the constant {images.flat[0]:g}: they say nothing of the network.")
    of = of if has_labels else None
    notes = _check_classes(of, num_classes or _classes(model))
    if len(images) < FEW:
        notes.append(f"{len(images)} images are few to calibrate on; {COUNT} are usual")
    return CalibrationSet(images, of, seen, seed, tuple(notes))


def as_calibration_set(images, model, seed=0, labels=None, count=None):
    """`images` itself if it is a `CalibrationSet`, else one of all of them, or of `count`."""
    if isinstance(images, CalibrationSet):
        return images
    if count is None:
        count = max(LEAST, len(images) if hasattr(images, "shape") else COUNT)
    return calibration_set(images, model, count, seed, labels)


def _batches(data, labels):
    if isinstance(data, tuple) and len(data) == 2 and labels is None:
        data, labels = data
    if hasattr(data, "shape"):
        if labels is not None and len(labels) != len(data):
            raise UserError(f"labels must be one an image. Received {len(labels)} labels for {len(data)} images.")
        yield np.asarray(data), labels
        return
    if data is None or isinstance(data, (str, bytes, dict)) or not hasattr(data, "__iter__"):
        raise UserError(f"calibration must be images or batches of them. Received {type(data).__name__}.")
    if labels is not None:
        raise UserError("labels are given beside an array of images; batches hold their own: (images, labels).")
    for batch in data:
        images, of = batch[:2] if isinstance(batch, tuple) and len(batch) > 1 else (batch, None)
        yield np.asarray(images[0] if isinstance(images, tuple) else images), of


def _checked(images, model, seen):
    wanted = tuple(model.inputs[0].shape[1:])
    fits = images.ndim == len(wanted) + 1 and all(
        own in (None, side) for own, side in zip(wanted, images.shape[1:], strict=True)
    )
    if not fits:
        text = "x".join("?" if side is None else str(side) for side in wanted)
        raise UserError(
            f"calibration images must be {text}, as the model takes them. Received an array of shape {images.shape}."
        )
    if images.dtype.kind not in "fiub":
        raise UserError(f"calibration images must be numbers. Received {images.dtype}.")
    images = images.astype("float32")
    wrong = ~np.isfinite(images).reshape(len(images), -1).all(axis=1)
    if wrong.any():
        raise UserError(
            f"calibration images must be finite. {int(wrong.sum())} of {len(images)} hold NaN or infinity, the first "
            f"is image {seen + int(wrong.argmax())}."
        )
    return images


def _labels(labels, count):
    labels = np.asarray(labels)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise UserError(
            f"labels must be class numbers, one an image. Received {labels.dtype} of shape {labels.shape} for {count} "
            "images."
        )
    return labels.astype("int64")


def _classes(model):
    shapes = keras.tree.flatten(model.outputs)
    units = shapes[0].shape[-1] if len(shapes) == 1 and len(shapes[0].shape) == 2 else None
    return None if units is None else max(units, 2)


def _check_classes(labels, classes):
    if labels is None:
        return []
    if classes is not None and (labels.min() < 0 or labels.max() >= classes):
        raise UserError(
            f"calibration labels must be below {classes}, the classes of the model. Received labels from "
            f"{labels.min()} to {labels.max()}. Give the data that the model was trained for."
        )
    found = len(np.unique(labels))
    if classes and found < classes:
        return [f"the calibration images are of {found} of the {classes} classes"]
    return []
