"""The registry: from a name and a few options to `Splits`."""

from __future__ import annotations

import dataclasses
import difflib
import os

import numpy as np
import tensorflow as tf

from pipelines import augment
from pipelines.augment import AUGMENTATIONS
from pipelines.examples import DataError, DataSpec, Examples
from pipelines.readers import folder
from pipelines.readers.digits import read_digits
from pipelines.readers.imagenet import NAME as IMAGENET
from pipelines.readers.imagenet import read_imagenet
from pipelines.readers.manual import MANUAL, read_manual
from pipelines.readers.named import NAMED, read_named
from pipelines.readers.raw import Raw, some
from pipelines.splits import Splits

FOLDER_PREFIX = "folder:"


def known_names() -> tuple[str, ...]:
    """What `load_splits` takes as a name."""
    return ("digits", *NAMED, *MANUAL, IMAGENET, f"{FOLDER_PREFIX}PATH")


def load_splits(
    name: str,
    batch_size: int = 128,
    eval_batch_size: int | None = None,
    validation: int | float = 0,
    seed: int = 0,
    augmentation: str = "auto",
    image_size: int | tuple[int, int] | None = None,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    on_broken: str = "fail",
    max_train: int | None = None,
    max_test: int | None = None,
    channels: int = 3,
    progress: folder.Progress | None = None,
) -> Splits:
    """Read a dataset and describe it.

    Args:
        name: "digits" (embedded), "cifar10", "cifar100", "mnist", "fashion_mnist", "usps", "coil20", "imagenet2012" or
            "folder:PATH".
        batch_size: training examples a step, exactly.
        eval_batch_size: validation and test examples a batch; `batch_size` by default.
        validation: how much of the training examples is held out: a count (int) or a share (float).
        seed: fixes the validation part, the order of each epoch and every augmentation.
        augmentation: "auto" (the dataset's own) or a key of `pipelines.augment.AUGMENTATIONS`.
        image_size: pixels, a side or (height, width); by default the dataset's own.
        data_dir: the folder of tensorflow-datasets; default `$TFDS_DATA_DIR`, else ~/tensorflow_datasets.
        download: fetch a missing dataset; nothing is ever fetched without it.
        on_broken: for image files of a folder or of ImageNet that cannot be decoded: "fail" or "skip".
        max_train, max_test: use so many examples at most, drawn with a fixed seed, before validation is.
        channels: for a folder: 3 (colour) or 1 (grey).
        progress: called as `progress(done, total)` while a folder's files are decoded.
    Raises: DataError: for an unknown name, absent or damaged data, or an argument out of its range.
    """
    _check_choice("augmentation", augmentation, ("auto", *AUGMENTATIONS))
    _check_choice("on_broken", on_broken, ("fail", "skip"))
    _check_choice("channels", channels, (1, 3))
    _check_count("seed", seed, 0)
    if seed >= 2**63:
        raise DataError(f"seed must be below 2**63. Received seed={seed}.")
    for key, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size),
                       ("max_train", max_train), ("max_test", max_test)):  # fmt: skip
        if value is not None:
            _check_count(key, value, 1)
    size = _size_pair(image_size)
    if name.startswith(FOLDER_PREFIX):
        resized_crop = augmentation != "auto" and AUGMENTATIONS[augmentation].resized_crop
        raw = folder.read_folder(
            name[len(FOLDER_PREFIX) :], size, channels, resized_crop, on_broken, max_train, max_test, progress
        )
    elif name == "digits":
        raw = _limited(_resized(read_digits(), size), max_train, max_test)
    elif name in NAMED:
        raw = _limited(_resized(read_named(name, data_dir, download), size), max_train, max_test)
    elif name in MANUAL:
        raw = _limited(_resized(read_manual(name, data_dir, download, seed, size), size), max_train, max_test)
    elif name == IMAGENET:
        raw = read_imagenet(data_dir, download, size, on_broken, max_train, max_test)
    else:
        raise DataError(_unknown_name(name))
    raw = _with_validation(raw, validation, seed)
    chosen = AUGMENTATIONS[raw.augmentation if augmentation == "auto" else augmentation]
    if chosen.mode == "REFLECT" and chosen.padding >= min(raw.image_shape[:2]):
        raise DataError(
            f"augmentation={augmentation!r} reflects {chosen.padding} pixels at the border, more than images "
            f"of {raw.image_shape[0]}x{raw.image_shape[1]} have. Take another one or a larger image_size."
        )
    if raw.mean is None:
        mean, std = folder.measure(raw.train, raw.image_shape, raw.resize)
        raw = dataclasses.replace(raw, mean=mean, std=std)
    return Splits(
        spec=_describe(full_name(name), raw),
        batch_size=batch_size,
        eval_batch_size=eval_batch_size or batch_size,
        seed=seed,
        augmentation=chosen,
        train_examples=raw.train,
        validation_examples=raw.validation,
        test_examples=raw.test,
    )


def _resized(raw: Raw, size: tuple[int, int] | None) -> Raw:
    """Scale the images once, where they fit in memory; else `build` scales every batch."""
    if size is None or size == raw.image_shape[:2]:
        return raw
    shape = (*size, raw.image_shape[2])
    fits = (len(raw.train) + len(raw.test)) * int(np.prod(shape)) <= folder.CACHE_LIMIT_BYTES
    resize = (lambda examples: _resize_examples(examples, shape)) if fits else (lambda examples: examples)
    return dataclasses.replace(raw, train=resize(raw.train), test=resize(raw.test), image_shape=shape)


def _resize_examples(examples: Examples, shape: tuple[int, int, int]) -> Examples:
    images = np.empty((len(examples), *shape), np.uint8)
    for start in range(0, len(examples), 1000):
        batch = tf.gather(examples.images, examples.rows[start : start + 1000])
        images[start : start + 1000] = augment.to_uint8(augment.resize(batch, *shape[:2]))
    return Examples.in_memory(images, examples.labels)


def _limited(raw: Raw, max_train: int | None, max_test: int | None) -> Raw:
    return dataclasses.replace(
        raw,
        train=raw.train.take(some(len(raw.train), max_train)),
        test=raw.test.take(some(len(raw.test), max_test)),
    )


def _with_validation(raw: Raw, validation: int | float, seed: int) -> Raw:
    """Move a part of the training examples, drawn by `seed`, to validation."""
    total = len(raw.train)
    count = round(validation * total) if isinstance(validation, float) else validation
    if isinstance(validation, bool) or not 0 <= count < total or (validation != 0 and count == 0):
        raise DataError(
            f"validation must be a share (float) or a count (int) that leaves some of the {total:,} training "
            f"examples and holds at least one, or 0. Received validation={validation!r}."
        )
    if count == 0:
        return raw
    if raw.validation is not None:
        raise DataError(f"validation={validation!r} was given, but the folder has a validation part. Leave it at 0.")
    order = np.random.default_rng(seed).permutation(total)
    held_out, kept = np.sort(order[:count]), np.sort(order[count:])
    return dataclasses.replace(raw, train=raw.train.take(kept), validation=raw.train.take(held_out))


def full_name(name: str) -> str:
    """The name that means the same from any working directory."""
    if not name.startswith(FOLDER_PREFIX):
        return name
    return FOLDER_PREFIX + os.path.abspath(os.path.expanduser(name[len(FOLDER_PREFIX) :]))


def _describe(name: str, raw: Raw) -> DataSpec:
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
    )


def _unknown_name(name: str) -> str:
    known = known_names()
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"The data set must be one of {', '.join(known)}. Received {name!r}.{hint}"


def _check_choice(key: str, value, choices: tuple) -> None:
    if value not in choices:
        raise DataError(f"{key} must be one of {', '.join(map(repr, choices))}. Received {key}={value!r}.")


def _check_count(key: str, value, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise DataError(f"{key} must be an integer of at least {least}. Received {key}={value!r}.")


def _size_pair(image_size) -> tuple[int, int] | None:
    if image_size is None:
        return None
    pair = (image_size, image_size) if isinstance(image_size, (int, np.integer)) else tuple(image_size)
    if len(pair) != 2 or any(not isinstance(side, (int, np.integer)) or side < 1 for side in pair):
        raise DataError(f"image_size must be a side or (height, width) in pixels. Received image_size={image_size!r}.")
    return int(pair[0]), int(pair[1])
