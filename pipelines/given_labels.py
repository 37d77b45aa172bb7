"""Labels that come as arrays: what they are by shape and type, numbered, and named."""

from __future__ import annotations

import numpy as np

from pipelines.examples import CLASSES, LABELS, VALUES, DataError
from pipelines.printable import counted, printable, some_of

SHOWN = 5  # names or values that a message gives


def as_labels(labels, class_names, task):
    """Labels as numbers, and what they are.

    Args:
        labels: dict, part -> array as `from_arrays` takes it.
        class_names, task: as in `from_arrays`.
    Returns: `(labels by part, names, task)`.
    Raises: DataError: naming the part and what does not fit.
    """
    first = labels["train"]
    if task == "auto":
        task = _task_of(first)
    if task == CLASSES:
        return _as_classes(labels, class_names)
    columns = {part: given if given.ndim == 2 else given[:, None] for part, given in labels.items()}
    widths = {part: given.shape[1] for part, given in columns.items()}
    if len(set(widths.values())) > 1:
        raise DataError(f"All parts must have labels of one width. Received {widths}.")
    for part, given in columns.items():
        _check_numbers(part, given, task)
    names = _names(class_names, widths["train"], "label" if task == LABELS else "value")
    if task == LABELS:
        there = {part: set(np.flatnonzero(given.any(0)).tolist()) for part, given in columns.items()}
        _check_known(there, names, "labels")
    kind = np.int32 if task == LABELS else np.float32
    return {part: given.astype(kind) for part, given in columns.items()}, names, task


def _task_of(labels):
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "buif" and np.isin(labels, (0, 1)).all():
        if (labels.sum(1) == 1).all() and len(labels) > 1:
            raise DataError(
                'task: each row of the labels has a single 1. Give task="labels" if images may have several labels or '
                "none, or labels.argmax(1), whole numbers, if each has one class."
            )
        return LABELS
    if labels.ndim == 2 and labels.shape[1] == 1 and labels.dtype.kind in "iu":
        raise DataError(
            f"task: labels of shape {labels.shape} are whole numbers in a single column. Give labels[:, 0] if they are "
            'classes, or task="values" if they are values.'
        )
    if labels.ndim == 1 and labels.dtype.kind == "f" and _are_numbers_of_classes(labels):
        raise DataError(
            f"task: labels of {labels.dtype} are the whole numbers from 0 to {int(labels.max())}. Give "
            'labels.astype(int) if they are classes, or task="values" if they are values.'
        )
    return VALUES if labels.dtype.kind == "f" or labels.ndim == 2 else CLASSES


def _are_numbers_of_classes(labels):
    """Whether floats are 0, 1, ... without a gap, each of them twice on average or more, as classes are numbered."""
    found = np.unique(labels)
    return 2 * len(found) <= len(labels) and np.array_equal(found, np.arange(len(found)))


def _check_known(there, names, what):
    """Raises: DataError: if a part has classes or labels that train lacks, which a network cannot learn.

    Args:
        there: dict, part -> set of the positions of those it has.
    """
    for part, found in there.items():
        if unknown := sorted(found - there["train"]):
            shown = some_of([printable(names[k]) for k in unknown], SHOWN)
            raise DataError(
                f"{part} has {what} that train lacks: {shown}. Leave out their images, or put some into train."
            )


def _check_numbers(part, labels, task):
    is_number = labels.dtype.kind in "buif"
    if task == LABELS and not (is_number and np.isin(labels, (0, 1)).all()):
        raise DataError(f'{part} must have labels of 0 and 1 with task="labels". Received {_some_values(labels)}.')
    if task == VALUES and not (is_number and (np.abs(labels.astype(np.float64)) <= np.finfo(np.float32).max).all()):
        raise DataError(
            f'{part} must have finite numbers (of float32) with task="values". Received {_some_values(labels)}.'
        )


def _as_classes(labels, class_names):
    for part, given in labels.items():
        if given.ndim != 1:
            raise DataError(f'{part} must have labels (n,) with task="classes". Received shape {given.shape}.')
    if labels["train"].dtype.kind in "UST" or labels["train"].dtype == object:
        texts = {part: _texts(part, given.tolist()) for part, given in labels.items()}
        names = sorted(set(texts["train"])) if class_names is None else [str(name) for name in class_names]
        numbers = {name: number for number, name in enumerate(names)}
        for part, given in texts.items():
            unknown = sorted(set(given) - set(numbers))
            if unknown:
                where = "train" if class_names is None else "class_names"
                raise DataError(
                    f"{part} has labels that {where} lacks: {some_of(list(map(printable, unknown)), SHOWN)}."
                )
        _check_known({part: {numbers[t] for t in given} for part, given in texts.items()}, names, "classes")
        return {part: np.array([numbers[t] for t in given]) for part, given in texts.items()}, tuple(names), CLASSES
    for part, given in labels.items():
        is_whole = given.dtype.kind in "buif" and np.isfinite(given).all() and (given == np.rint(given)).all()
        if not is_whole or given.min() < 0:
            raise DataError(
                f"{part} must have labels that are whole numbers from 0, or names. Received {_some_values(given)}."
            )
    highest = max(int(given.max()) for given in labels.values())
    by_part = {part: {int(label) for label in np.unique(given)} for part, given in labels.items()}
    there = by_part["train"]
    absent = highest + 1 - len(there)
    if class_names is None and absent:  # before any name is made: a label may be an identifier of many digits
        shown = ", ".join(str(number) for number in range(len(there) + 5) if number <= highest and number not in there)
        raise DataError(
            f"train has no image of {absent:,} of the classes 0 to {highest} ({shown}). Number the classes from 0 "
            "without gaps, or give `class_names` if they have no images yet."
        )
    names = _names(class_names, None if class_names is not None else highest + 1, "class")
    if highest >= len(names):
        raise DataError(f"class_names must name each class, 0 to {highest}. Received {counted(len(names), 'name')}.")
    _check_known(by_part, names, "classes")
    return labels, names, CLASSES


def _texts(part, labels):
    """Names of classes as texts. Raises: DataError: if some are missing, as None and NaN in an array of objects are."""
    lacking = [index for index, label in enumerate(labels) if label is None or label != label]
    if lacking:
        raise DataError(
            f"{part} must have a label for each image. Received {labels[lacking[0]]} for {len(lacking):,} of "
            f"{len(labels):,}, the first at {lacking[0]}: leave these images out."
        )
    return [label.decode() if isinstance(label, bytes) else str(label) for label in labels]


def _names(given, count, what):
    if given is None:
        return tuple(str(number) if what == "class" else f"{what}{number}" for number in range(count))
    names = tuple(str(name) for name in given)
    if (count is not None and len(names) != count) or len(set(names)) != len(names):
        expected = "" if count is None else f" {count}"
        raise DataError(
            f"class_names must be{expected} different names. Received {len(names)}: "
            f"{some_of(list(map(printable, names)), SHOWN)}."
        )
    return names


def _some_values(labels):
    found = [printable(value) for value in np.unique(labels.astype(str))]
    return f"{labels.dtype} such as {some_of(found, SHOWN)}"
