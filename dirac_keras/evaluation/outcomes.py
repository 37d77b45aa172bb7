"""What a network makes of each image of a data set: a few numbers an image, the whole outputs of some, the worst."""

import dataclasses
import functools

import numpy as np

from dirac_keras.brief import brief
from dirac_keras.deployment.heads import CLASSES, LABELS, VALUES
from dirac_keras.errors import UserError
from dirac_keras.evaluation.worst import Worst

KEPT_NUMBERS = 2**25  # of whole outputs: 128 MiB of float32
TINY = np.finfo("float32").tiny


@brief
@dataclasses.dataclass(frozen=True)
class Outcomes:
    """The outcome of every image.

    Attributes:
        task: `"classes"`, `"labels"` or `"values"`.
        truth: int `(images,)`; of labels 0 and 1, `(images, labels)`, of values numbers `(images, values)`.
        columns: dict, name -> array with a number an image; see `_of_classes` and the others below.
        kept: int `(k,)`, places of the images whose whole outputs are kept: all, or a random choice.
        outputs: `(k, units)` float32: log-probabilities of classes, probabilities of labels, values.
        worst: list of `worst.Kept`.
    """

    task: str
    truth: np.ndarray
    columns: dict
    kept: np.ndarray
    outputs: np.ndarray
    worst: list

    @property
    def images(self):
        return len(self.truth)

    @property
    def right(self):
        """`(images,)` bool: the right class, or all labels right."""
        return self.columns["right"]


def collect(predict, batches, spec, total, seed=0, kept_numbers=KEPT_NUMBERS, most_mistakes=24, units=None):
    """Run a network over a data set.

    Args:
        predict: function of images as the network takes them -> `(batch, units)`, see `Head.probabilities`.
        batches: iterable of `(images, labels)`, in order.
        spec: `pipelines.DataSpec` that the images are scaled by.
        total: int, images to come.
        seed: draws the images whose whole outputs are kept where they are too many.
        kept_numbers: how many numbers of whole outputs are kept.
        most_mistakes: how many of the worst images are kept.
        units: array `(values,)`, of values: what an error is measured in where images are compared; None: their own.

    Returns: `Outcomes`.
    Raises: ValueError: if there are no images.
    """
    read = READERS[spec.task] if units is None else functools.partial(_of_values, units=units)
    kept = choose(total, max(kept_numbers // max(spec.num_classes, 1), 1), seed)
    worst, parts, truths, outputs, start = Worst(most_mistakes), [], [], [], 0
    for images, truth in batches:
        images, truth = np.asarray(images), np.asarray(truth)
        columns, whole, badness = read(predict(images), truth)
        worst.offer(start, badness, lambda place, images=images: pixels_of(images[place], spec))
        outputs.append(whole[kept[np.searchsorted(kept, start) : np.searchsorted(kept, start + len(truth))] - start])
        parts.append(columns)
        truths.append(truth)
        start += len(truth)
    if start == 0:
        raise UserError(f"`data`: {spec.name} has no images in this `split`. Give another one.")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Outcomes(
        spec.task, np.concatenate(truths), columns, kept[kept < start], np.concatenate(outputs), worst.found()
    )


def choose(total, most, seed):
    """Places of `most` of `total` images, drawn at random and sorted; all where they are no more."""
    if total <= most:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, most, replace=False))


def pixels_of(images, spec):
    """Images as a network takes them, as pixels: uint8 of the same shape. Exact, since they were pixels."""
    pixels = np.asarray(images, "float32") * np.asarray(spec.std, "float32") + np.asarray(spec.mean, "float32")
    return np.clip(np.rint(pixels), 0, 255).astype("uint8")


def _of_classes(probabilities, truth):
    """Columns: `predicted` class, its probability `confidence`, that of the true class `chosen`, `rank` of the true
    class from 0, `loss`, `right`. Bad are wrong images, by their confidence."""
    rows = np.arange(len(truth))
    chosen = probabilities[rows, truth]
    predicted = probabilities.argmax(axis=-1)
    right = predicted == truth
    confidence = probabilities[rows, predicted]
    columns = {
        "predicted": predicted.astype("int32"),
        "confidence": confidence.astype("float32"),
        "chosen": chosen.astype("float32"),
        "rank": np.sum(probabilities > chosen[:, None], axis=-1).astype("int32"),
        "loss": -np.log(np.maximum(chosen, TINY)),
        "right": right,
    }
    whole = np.log(np.maximum(probabilities, TINY)).astype("float32")
    return columns, whole, np.where(right, -np.inf, confidence)


def _of_labels(probabilities, truth):
    """Columns: `wrong` labels, `loss` (mean binary cross-entropy over labels), `right` (all labels right at 0.5). Bad
    are images with a wrong label, by their loss."""
    wrong = np.sum((probabilities > 0.5) != (truth > 0.5), axis=-1)
    chosen = np.where(truth > 0.5, probabilities, 1.0 - probabilities)
    loss = np.mean(-np.log(np.maximum(chosen, TINY)), axis=-1)
    columns = {"wrong": wrong.astype("int32"), "loss": loss, "right": wrong == 0}
    return columns, probabilities.astype("float32"), np.where(wrong > 0, loss, -np.inf)


def _of_values(values, truth, units=1.0):
    """Columns: `loss`, the mean squared error over values. Bad are images by its root with each error in its unit."""
    errors = np.asarray(values, "float64") - truth
    badness = np.sqrt(np.mean((errors / units) ** 2, axis=-1))
    return {"loss": np.mean(errors**2, axis=-1)}, np.asarray(values, "float32"), badness


READERS = {CLASSES: _of_classes, LABELS: _of_labels, VALUES: _of_values}
