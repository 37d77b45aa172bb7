"""What a card says of a network beyond what its file holds."""

import dataclasses

import numpy as np

from dirac_keras.deployment.evaluation import check_classes, preprocessed_as
from dirac_keras.deployment.feeding import batch_runner
from dirac_keras.deployment.heads import CLASSES, find_head
from dirac_keras.deployment.public_name import public_name
from dirac_keras.errors import UserError


@dataclasses.dataclass(frozen=True)
class CardFacts:
    """Facts for a card; what is None is said to be not known.

    Attributes:
        name: of the network, the card's title.
        config: dict, a run's configuration with `versions`, `commit`, `machine`.
        summary: dict, a run's final figures.
        evaluation: dict, as `accuracy_by_class` returns it.
        why_not_evaluated: text, where `evaluation` is None.
        benchmark: dict, the record of `dirac-keras benchmark`.
        license: the weights' licence, a hub's identifier such as `"mit"`.
    """

    name: str | None = None
    config: dict | None = None
    summary: dict | None = None
    evaluation: dict | None = None
    why_not_evaluated: str | None = None
    benchmark: dict | None = None
    license: str | None = None


def accuracy_by_class(model, data, splits, input=None, outputs=None):
    """Accuracy on the test images, in all and of each class.

    Args:
        model, data, splits, input, outputs: as in `evaluation.evaluate`.

    Returns: dict: `data`, `split`, `images`, `accuracy`, `loss` (cross-entropy), and `by_class`, a list of dicts
        `class`, `images`, `accuracy` (share of the class' images that are recognized; None without images),
        `taken_for` (the class that most of the others are taken for, or None).
    """
    check_classes(model, data, splits.spec)
    if splits.spec.task != CLASSES:
        raise UserError(f"{splits.spec.name} has {splits.spec.task}, not one class for each image")
    head, run = find_head(model, outputs), batch_runner(model)
    splits, _ = preprocessed_as(data, splits, model, input)
    names = list(splits.spec.class_names)
    counts, loss = np.zeros((len(names), len(names)), int), 0.0  # of a class, taken for another
    for images, labels in splits.test():
        labels = np.asarray(labels)
        probabilities = head.probabilities(run(images))
        np.add.at(counts, (labels, probabilities.argmax(-1)), 1)
        chosen = probabilities[np.arange(len(labels)), labels]
        loss += float(np.sum(-np.log(np.maximum(chosen, np.finfo("float32").tiny))))
    total = int(counts.sum())
    return {
        "data": public_name(splits.spec.name),
        "split": "test",
        "images": total,
        "accuracy": float(np.trace(counts)) / total,
        "loss": loss / total,
        "by_class": [_of_class(index, names, counts) for index in range(len(names))],
    }


def _of_class(index, names, counts):
    images, others = int(counts[index].sum()), counts[index].copy()
    others[index] = 0
    return {
        "class": names[index],
        "images": images,
        "accuracy": float(counts[index, index]) / images if images else None,
        "taken_for": names[int(others.argmax())] if others.any() else None,
    }
