"""Labels numbered by the classes of a model, which the data may lack some of."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from pipelines.examples import CLASSES, VALUES, DataError, Examples
from pipelines.printable import printable, some_of
from pipelines.readers.alike import beside_alike
from pipelines.readers.raw import Raw

logger = logging.getLogger(__name__)


def numbered_by(raw: Raw, classes: Sequence[str], name: str) -> Raw:
    """A data set whose labels are positions in `classes`; of labels and values, whose columns are those.

    Args:
        raw: as its reader gives it.
        classes: names, all that the data have and perhaps more.
        name: of the data set, for messages.
    Raises: DataError: if the data have a name that is not in `classes`, or lack one of the values.
    """
    classes = tuple(classes)
    if classes == tuple(raw.class_names):
        return raw
    place = {label: k for k, label in enumerate(classes)}
    unknown = [label for label in raw.class_names if label not in place]
    lacking = [label for label in classes if label not in set(raw.class_names)]
    if unknown:
        shown = some_of(beside_alike(unknown, classes, "there"))
        raise DataError(
            f"{printable(name)} has {raw.task} that are not among those of the model: {shown}. "
            f"It has {some_of([printable(label) for label in classes])}. Rename or remove them."
        )
    if lacking and raw.task == VALUES:
        raise DataError(
            f"{printable(name)} lacks values: {some_of([printable(label) for label in lacking])}. Add their columns."
        )
    if lacking:
        logger.warning(
            "%s has no images of %s of %s %s: %s", printable(name), len(lacking), len(classes), raw.task,
            some_of([printable(label) for label in lacking]),
        )  # fmt: skip
    where = np.array([place[label] for label in raw.class_names], np.int64)
    parts = {part: _numbered(getattr(raw, part), where, len(classes), raw.task) for part in ("train", "test")}
    if raw.validation is not None:
        parts["validation"] = _numbered(raw.validation, where, len(classes), raw.task)
    return dataclasses.replace(raw, class_names=classes, **parts)


def _numbered(examples: Examples, where: np.ndarray, count: int, task: str) -> Examples:
    if task == CLASSES:
        return dataclasses.replace(examples, labels=where[examples.labels].astype(examples.labels.dtype))
    columns = np.zeros((len(examples), count), examples.labels.dtype)
    columns[:, where] = examples.labels
    return dataclasses.replace(examples, labels=columns)
