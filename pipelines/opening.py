"""From a data set as it was read to its streams: validation held out, pixels measured, facts written down."""

from __future__ import annotations

import dataclasses
import logging
import types

import numpy as np

from pipelines.augmentation import check_channels, check_task, find_augmentation
from pipelines.decoding.rule import Rule
from pipelines.examples import VALUES, DataError, DataSpec
from pipelines.parts import with_validation
from pipelines.readers.raw import Raw
from pipelines.readers.statistics import measure
from pipelines.splits_base import BaseSplits

logger = logging.getLogger(__name__)


def open_splits(
    raw: Raw,
    name: str,
    rule: Rule,
    engine: types.ModuleType,
    batch_size: int,
    eval_batch_size: int | None,
    validation: int | float,
    seed: int,
    augmentation: str,
    is_whole: bool = False,
) -> BaseSplits:
    """The streams of a data set.

    Args:
        raw: as its reader gives it.
        name: of the data set, for its record.
        rule: how image files are decoded.
        engine: one of `pipelines.engines`.
        batch_size, eval_batch_size, validation, seed, augmentation: as in `load_splits`.
        is_whole: whether there is one part, which `raw` has as its test part.
    Raises: DataError: if they do not fit the data.
    """
    raw = with_validation(raw, validation, seed)
    chosen = find_augmentation(augmentation, raw.augmentation)
    check_channels(augmentation, chosen, raw.image_shape[2])
    check_task(augmentation, chosen, raw.task)
    if chosen.mode == "REFLECT" and chosen.padding >= min(raw.image_shape[:2]):
        raise DataError(
            f"augmentation={augmentation!r} reflects {chosen.padding} pixels at the border, more than images "
            f"of {raw.image_shape[0]}x{raw.image_shape[1]} have. Take another one or a larger image_size."
        )
    if raw.mean is None:
        mean, std = measure(raw.train, raw.image_shape, raw.resize, rule, engine)
        raw = dataclasses.replace(raw, mean=mean, std=std)
    held = iter(engine.hold(*(part for part in (raw.train, raw.validation, raw.test) if part is not None)))
    splits = engine.make_splits(
        spec=_describe(name, raw, rule),
        batch_size=batch_size,
        eval_batch_size=eval_batch_size or batch_size,
        seed=seed,
        augmentation=chosen,
        train_examples=next(held),
        validation_examples=None if raw.validation is None else next(held),
        test_examples=next(held),
        survey=raw.survey,
        is_whole=is_whole,
    )
    if splits.survey is not None:
        logger.info("\n".join(splits.survey.lines(splits.spec.class_names, splits.parts)))
    return splits


def _describe(name: str, raw: Raw, rule: Rule) -> DataSpec:
    mean, std = _value_statistics(raw.train.labels) if raw.task == VALUES else ((), ())
    return DataSpec(
        name=name,
        image_shape=raw.image_shape,
        num_classes=len(raw.class_names),
        class_names=raw.class_names,
        mean=raw.mean,
        std=raw.std,
        resize=raw.resize,
        num_train=len(raw.train),
        num_validation=0 if raw.validation is None else len(raw.validation),
        num_test=len(raw.test),
        exif_orientation=rule.exif_orientation,
        max_pixels=rule.max_pixels,
        task=raw.task,
        columns=raw.columns,
        value_mean=mean,
        value_std=std,
    )


def _value_statistics(values: np.ndarray) -> tuple[tuple, tuple]:
    """Mean and deviation of each value; of one that never changes the deviation 1."""
    values = values.astype(np.float64)
    return tuple(map(float, values.mean(0))), tuple(float(std) or 1.0 for std in values.std(0))
