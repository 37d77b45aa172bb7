"""Several labels an image: average precision, F1, thresholds, label by label."""

import dataclasses
import warnings

import numpy as np
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from dirac_keras.evaluation.classes import class_figures

THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class LabelFigures:
    """One label.

    Attributes:
        name: str.
        share: float, of the images that have it: the average precision of answers that know nothing of the image.
        average_precision: area under the curve of precision over recall, as `sklearn.metrics` sums it; None without an
            image that has the label, or without one that has not.
        precision, recall, f1, support, predicted: at a threshold of 0.5, as `classes.ClassFigures`.
        threshold: that of the best F1 on a random half of the images; None if it has none with the label.
        f1_held_out, f1_at_threshold: F1 of the other half at 0.5 and at `threshold`; None likewise.
    """

    name: str
    share: float
    average_precision: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: int
    threshold: float | None
    f1_held_out: float | None
    f1_at_threshold: float | None


def label_figures(truth, probabilities, names, seed=0):
    """`LabelFigures` of each label.

    Args:
        truth: `(images, labels)` of 0 and 1.
        probabilities: `(images, labels)`.
        names: list of str.
        seed: draws the halves.
    """
    truth, given = np.asarray(truth).astype(int), (np.asarray(probabilities) > THRESHOLD).astype(int)
    fit, held = np.array_split(np.random.default_rng(seed).permutation(len(truth)), 2)
    if len(names) == 1:  # scikit-learn takes one column for two classes
        doubled = class_figures(truth[:, 0], given[:, 0], ["without", names[0]])[1:]
    else:
        doubled = class_figures(truth, given, names)
    rows = []
    for k, figures in enumerate(doubled):
        is_mixed = 0 < truth[:, k].sum() < len(truth)
        precision = float(average_precision_score(truth[:, k], probabilities[:, k])) if is_mixed else None
        threshold = best_threshold(truth[fit, k], probabilities[fit, k])
        f1s = (None, None)
        if threshold is not None and truth[held, k].any():
            f1s = tuple(
                float(f1_score(truth[held, k], probabilities[held, k] > cut, zero_division=0.0))
                for cut in (THRESHOLD, threshold)
            )
        rows.append(
            LabelFigures(share=float(truth[:, k].mean()), average_precision=precision, threshold=threshold,
                         f1_held_out=f1s[0], f1_at_threshold=f1s[1], **dataclasses.asdict(figures))
        )  # fmt: skip
    return rows


def best_threshold(truth, probabilities):
    """The threshold that gives the best F1, halfway between two probabilities; None if no image has the label.

    Args:
        truth, probabilities: `(images,)`; an image is given the label where its probability is above the threshold.
    """
    if not np.any(truth):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a precision of 0 images
        precision, recall, cuts = precision_recall_curve(truth, probabilities)
    scores = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(np.argmax(scores[:-1]))
    below = cuts[best - 1] if best else max(2 * cuts[best] - 1.0, 0.0)
    # Of a cut at 0, or right above its neighbour, no number is between: the next one below.
    return min(float((cuts[best] + below) / 2), float(np.nextafter(cuts[best], -1)))


def f1_scores(truth, probabilities):
    """`(macro, micro)` F1 at 0.5, over all labels."""
    given = np.asarray(probabilities) > THRESHOLD
    truth = np.asarray(truth) > 0
    return tuple(
        float(f1_score(truth, given, average=average, zero_division=0.0)) for average in ("macro", "micro")
    ) if truth.shape[1] > 1 else (float(f1_score(truth[:, 0], given[:, 0], zero_division=0.0)),) * 2  # fmt: skip
