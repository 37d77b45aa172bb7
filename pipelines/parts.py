"""What `load_splits` does to a dataset as it was read: scale the images, take fewer, hold some out for validation."""

from __future__ import annotations

import dataclasses
import logging
import math

import numpy as np

from pipelines.examples import LABELS, VALUES, DataError
from pipelines.printable import printable, some_of
from pipelines.readers.raw import Raw, some
from pipelines.scaling import fits_in_memory, scale

logger = logging.getLogger(__name__)
SHOWN = 5


def resized(raw: Raw, size: tuple[int, int] | None, engine=None) -> Raw:
    """Scale the images once, where they fit in memory; else the streams scale every batch."""
    if size is None or size == raw.image_shape[:2]:
        return raw
    shape = (*size, raw.image_shape[2])
    if fits_in_memory(len(raw.train) + len(raw.test), shape):
        raw = dataclasses.replace(raw, train=scale(raw.train, size, engine), test=scale(raw.test, size, engine))
    return dataclasses.replace(raw, image_shape=shape)


def limited(raw: Raw, max_train: int | None, max_test: int | None) -> Raw:
    """Take so many training and test examples at most, drawn with a fixed seed."""
    return dataclasses.replace(
        raw,
        train=raw.train.take(some(len(raw.train), max_train)),
        test=raw.test.take(some(len(raw.test), max_test)),
    )


def _tell_lost(raw: Raw, kept: np.ndarray) -> None:
    """Log the classes or labels all of whose training examples are held out."""
    if raw.task == VALUES:
        return
    before, after = (
        (labels.any(0).nonzero()[0] if raw.task == LABELS else np.unique(labels))
        for labels in (raw.train.labels, raw.train.labels[kept])
    )
    lost = [printable(raw.class_names[k]) for k in np.setdiff1d(before, after)]
    if lost:
        logger.warning(
            "validation holds out all training images of %s of %s %s: %s",
            len(lost), len(raw.class_names), raw.task, some_of(lost, SHOWN),
        )  # fmt: skip


def with_validation(raw: Raw, validation: int | float, seed: int) -> Raw:
    """Move a part of the training examples, drawn by `seed`, to validation.

    Args:
        validation: a count (int) or a share (float) of the training examples; 0 for none.
    Raises: DataError: if it leaves no training example, or the source has a validation part of its own.
    """
    total = len(raw.train)
    is_share = isinstance(validation, (float, np.floating)) and math.isfinite(validation)
    is_number = is_share or (isinstance(validation, (int, np.integer)) and not isinstance(validation, bool))
    count = round(validation * total) if is_share else validation
    if not is_number or not 0 <= count < total or (validation != 0 and count == 0):
        raise DataError(
            f"validation must be a share (float) or a count (int) that leaves some of the {total:,} training "
            f"examples and holds at least one, or 0. Received validation={validation!r}."
        )
    if count == 0:
        return raw
    if raw.validation is not None:
        raise DataError(
            f"validation={validation!r} would be held out, but the data have a validation part of their own: give "
            "`validation=0`, which takes that."
        )
    order = np.random.default_rng(seed).permutation(total)
    held_out, kept = np.sort(order[:count]), np.sort(order[count:])
    _tell_lost(raw, kept)
    return dataclasses.replace(raw, train=raw.train.take(kept), validation=raw.train.take(held_out))
