"""Class by class: precision, recall, F1, support; what is taken for what."""

import dataclasses

import numpy as np
from sklearn.metrics import precision_recall_fscore_support


@dataclasses.dataclass(frozen=True)
class ClassFigures:
    """One class of a classifier, or one label of several.

    Attributes:
        name: str.
        precision: share of the images given this class that have it; None if none was given it.
        recall: share of the images of this class that were given it; None if there are none.
        f1: harmonic mean of both; None if the class neither occurs nor is given.
        support: int, images of this class.
        predicted: int, images given this class.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: int


def class_figures(labels, predictions, names):
    """`ClassFigures` of each class, in the order of `names`.

    Args:
        labels, predictions: arrays `(images,)` of int; or, of several labels an image, `(images, labels)` of 0 and 1.
        names: list of str.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=np.arange(len(names)), zero_division=np.nan
    )
    predicted = np.bincount(predictions, minlength=len(names)) if labels.ndim == 1 else predictions.sum(axis=0)
    columns = zip(names, precision, recall, f1, support, predicted, strict=True)
    return [ClassFigures(str(n), _number(p), _number(r), _number(f), int(s), int(k)) for n, p, r, f, s, k in columns]


def macro(figures, field):
    """The mean of a field over the classes that occur; None if it is known of none of them.

    A class that occurs and is never given counts with a precision of 0: it would else raise the mean.
    """
    values = [getattr(row, field) or 0.0 for row in figures if row.support]
    return float(np.mean(values)) if values else None


def _number(value):
    return None if np.isnan(value) else float(value)


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Which class is taken for which, as the pairs that occur: of 1,000 classes most never do.

    Attributes:
        classes: int.
        true, predicted, images: int arrays `(pairs,)`, sorted by true, then predicted class.
    """

    classes: int
    true: np.ndarray
    predicted: np.ndarray
    images: np.ndarray

    @classmethod
    def of(cls, labels, predictions, classes):
        """Of int arrays `(images,)`."""
        codes, images = np.unique(np.asarray(labels, "int64") * classes + predictions, return_counts=True)
        return cls(classes, codes // classes, codes % classes, images)

    def matrix(self):
        """`(classes, classes)` int64: images by true class (row) and predicted class (column)."""
        table = np.zeros((self.classes, self.classes), "int64")
        table[self.true, self.predicted] = self.images
        return table

    def worst(self, most=20):
        """The most confused pairs: `[(true, predicted, images, share of the true class's images), ...]`."""
        support = np.bincount(self.true, self.images, self.classes)
        pairs = np.flatnonzero(self.true != self.predicted)
        order = pairs[np.lexsort((self.predicted[pairs], self.true[pairs], -self.images[pairs]))][:most]
        return [
            (
                int(self.true[k]),
                int(self.predicted[k]),
                int(self.images[k]),
                float(self.images[k] / support[self.true[k]]),
            )
            for k in order
        ]
