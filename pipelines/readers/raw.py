"""What every reader returns, and the checks every reader makes."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import numpy as np

from pipelines.examples import CLASSES, DataError, Examples
from pipelines.printable import counted, printable, some_of
from pipelines.readers.drawn import FIXED_SEED

if TYPE_CHECKING:
    from pipelines.readers.survey import Survey

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Raw:
    """A dataset as read.

    Args:
        train, test: the examples.
        class_names: one per label.
        image_shape: (height, width, channels) a model gets.
        mean, std: per channel, 0..255 units; None where they are to be measured on the training examples.
        augmentation: the name "auto" stands for.
        validation: only where the source has a validation part of its own.
        resize: see `DataSpec.resize`.
        survey: of a folder or table, what of it was used.
        task, columns: see `DataSpec`.
    """

    train: Examples
    test: Examples
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    augmentation: str
    validation: Examples | None = None
    resize: int | None = None
    survey: Survey | None = None
    task: str = CLASSES
    columns: dict | None = None


def check_labels(labels: np.ndarray, num_classes: int, source: str) -> None:
    """Raises: DataError: if there are no labels, or one lies outside 0..num_classes - 1."""
    if len(labels) == 0:
        raise DataError(f"{source} has no examples. Get the data again, or name another folder.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise DataError(
            f"{source} has labels from {low} to {high}, but with {counted(num_classes, 'class', 'classes')} they "
            f"must lie in 0..{num_classes - 1}. Get the data again."
        )


def some(count: int, limit: int | None) -> np.ndarray:
    """Positions of `limit` of `count` examples, drawn with a fixed seed, in order; all of them for None."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(FIXED_SEED).permutation(count)[:limit])


def kept(names: list[str], broken: dict[int, str], on_broken: str) -> np.ndarray:
    """Positions of the images that can be used.

    Args:
        broken: position of each that cannot -> why, which completes "it is ...".
    Raises: DataError: if there are any and `on_broken` is not "skip".
    """
    if broken:
        which = some_of([f"{printable(names[i])} ({why})" for i, why in broken.items()])
        if on_broken != "skip":
            raise DataError(
                f"{len(broken):,} of {counted(len(names), 'image file')} cannot be decoded: {which}. "
                'Repair or remove them, or leave them out with `on_broken="skip"`.'
            )
        of = counted(len(names), "image file")
        logger.warning("Skipped %s of %s, which cannot be decoded: %s", f"{len(broken):,}", of, which)
    return np.setdiff1d(np.arange(len(names)), list(broken))
