"""Two networks on the same images."""

import dataclasses

import numpy as np

from dirac_keras.deployment.classifier import find_units
from dirac_keras.errors import UserError
from dirac_keras.evaluation.intervals import Paired, difference, mcnemar
from dirac_keras.evaluation.outcomes import CLASSES, VALUES
from dirac_keras.listing import listed


def check_comparable(first, second):
    """Whether two subjects can be compared image by image.

    Args:
        first, second: `Subject`.

    Raises: ValueError: if their classes differ, or what they give are numbers, which are neither right nor wrong.
    """
    if first.splits.spec.task == VALUES:
        raise UserError("`compare` counts right answers; the numbers that these networks give are never exactly right.")
    counts = find_units(first.model), find_units(second.model)
    if first.splits.spec.task == CLASSES:  # one unit and two units are two classes
        counts = tuple(max(count, 2) for count in counts)
    if counts[0] != counts[1]:
        raise UserError(
            f"`compare`: {second.name} has {counts[1]} classes, {first.name} has {counts[0]}. Give a network of the "
            "same classes."
        )
    names = [(subject.data or {}).get("class_names") for subject in (first, second)]
    if all(names) and list(names[0]) != list(names[1]):
        raise UserError(
            f"`compare`: the classes of {second.name} are not those of {first.name}: {_apart(*names)}. Give a network "
            "of the same classes."
        )


def _apart(here, there):
    """In words: what two lists of as many classes do not share, else where their order parts."""
    only = [[str(name) for name in one if name not in other] for one, other in ((there, here), (here, there))]
    if any(only):
        texts = [listed(names) for names in only]
        return f"{texts[0]} there alone, {texts[1]} here alone, of {len(here)}"
    place = next(k for k, pair in enumerate(zip(here, there, strict=True)) if pair[0] != pair[1])
    return f"they stand in another order, class {place} is {there[place]} there and {here[place]} here"


def compare(first, second, names):
    """What the paired outcomes of two networks say, JSON-safe.

    Args:
        first, second: `Outcomes` of the same images.
        names: names of the classes.

    Raises: ValueError: if they are not of the same images.
    """
    if first.truth.shape != second.truth.shape or not np.array_equal(first.truth, second.truth):
        raise UserError(
            f"`compare`: the networks were given different images ({first.images} and {second.images}), or in another "
            "order. Give `data` that both are made for."
        )
    paired = Paired.of(first.right, second.right)
    test, gap = mcnemar(paired), difference(paired)
    record = {
        "accuracy": float(np.mean(second.right)),
        "loss": float(np.mean(second.columns["loss"])),
        **dataclasses.asdict(paired),
        "difference": {**dataclasses.asdict(gap), "method": "Newcombe 1998, method 10, 95 %"},
        "mcnemar": dataclasses.asdict(test),
    }
    if first.task == CLASSES:
        agree = first.columns["predicted"] == second.columns["predicted"]
        record["agreement"] = float(np.mean(agree))
        record["per_class"] = _per_class(first, second, names)
    return record


def _per_class(first, second, names):
    images = np.bincount(first.truth, minlength=len(names))
    hits = [np.bincount(one.truth, one.right, len(names)) for one in (first, second)]
    return [
        {
            "name": str(name),
            "images": int(images[k]),
            "recall": float(hits[0][k] / images[k]),
            "recall_other": float(hits[1][k] / images[k]),
        }
        for k, name in enumerate(names)
        if images[k]
    ]
