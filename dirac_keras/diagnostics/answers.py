"""How many images a network names right, and whether that is more than a network that has learned nothing would."""

import math
from dataclasses import dataclass

import numpy as np

DEVIATIONS = 3.0  # above chance; of answers at chance, one set in 700 lies higher


@dataclass(frozen=True)
class Answers:
    """The network's answers to the measured images, against always naming one class.

    Always naming the most frequent class gets the share `most_frequent` right, and one class of `classes` completely: a
    mean recall of `1 / classes`. A network that has learned anything is above one of the two; above the second alone if
    its data are uneven and it gives the rare classes weight.

    | field | what it is |
    |---|---|
    | `samples`, `classes` | images measured; classes that occur among them |
    | `accuracy` | share of the images whose largest output is that of their class |
    | `most_frequent` | share of the images in the most frequent class |
    | `mean_recall` | mean over the classes of the share of their images that is named right |
    | `accuracy_of_chance` | `most_frequent` and three standard deviations of it |
    | `recall_of_chance` | `1 / classes` and three standard deviations of it |
    """

    samples: int
    classes: int
    accuracy: float
    most_frequent: float
    mean_recall: float
    accuracy_of_chance: float
    recall_of_chance: float

    @property
    def is_chance(self):
        """Whether the answers are no better than chance; None if there are too few images, or classes, to tell.

        They can tell if right answers to all of them would lie twice as far above the one class as chance may.
        """
        measures = (
            (self.accuracy, self.most_frequent, self.accuracy_of_chance),
            (self.mean_recall, 1 / self.classes, self.recall_of_chance),
        )
        telling = [found <= limit for found, chance, limit in measures if 1 - chance > 2 * (limit - chance)]
        return all(telling) if telling else None


class AnswerCounts:
    """Collects `Answers` batch by batch; of data without class numbers there are none."""

    def __init__(self):
        self._classes = self._images = self._right = None
        self._is_lost = False

    def update(self, outputs, labels):
        """Takes outputs `(batch, classes)`, and labels of any kind or None."""
        classes = outputs.shape[-1]
        labels = _class_numbers(labels, classes)
        if self._is_lost or labels is None:
            self._is_lost = True
            return
        if self._images is None:
            self._images, self._right = np.zeros(classes, "int64"), np.zeros(classes, "int64")
        self._images += np.bincount(labels, minlength=classes)
        self._right += np.bincount(labels[outputs.argmax(axis=-1) == labels], minlength=classes)

    def result(self):
        """`Answers`; None if there are none."""
        if self._is_lost or self._images is None:
            return None
        images = self._images[self._images > 0]
        samples, classes = int(images.sum()), len(images)
        recalls = self._right[self._images > 0] / images
        one_class, most = 1 / classes, float(images.max() / samples)
        spread = math.sqrt(one_class * (1 - one_class) * float((1 / images).sum())) / classes
        return Answers(
            samples=samples,
            classes=classes,
            accuracy=float(self._right.sum() / samples),
            most_frequent=most,
            mean_recall=float(recalls.mean()),
            accuracy_of_chance=most + DEVIATIONS * math.sqrt(most * (1 - most) / samples),
            recall_of_chance=one_class + DEVIATIONS * spread,
        )


def _class_numbers(labels, classes):
    """Labels as `(batch,)` of integers; None if they are anything else than numbers from 0 to `classes` - 1."""
    if labels is None:
        return None
    flat = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1 or flat.dtype.kind not in "iuf" or np.any(flat != np.floor(flat)):
        return None
    return flat.astype("int64") if np.all((flat >= 0) & (flat < classes)) else None
