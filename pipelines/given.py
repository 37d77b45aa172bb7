"""Data that a program has in its hands: NumPy arrays, and a `tf.data.Dataset` that ends."""

from __future__ import annotations

import itertools
import logging

import numpy as np

from pipelines.arguments import check_choice, check_count, check_seed, size_pair
from pipelines.decoding.rule import Rule
from pipelines.engines import find_engine
from pipelines.examples import TASKS, VALUES, DataError, Examples
from pipelines.given_labels import as_labels
from pipelines.opening import open_splits
from pipelines.parts import limited, resized
from pipelines.printable import counted
from pipelines.readers.alike import tell_alike
from pipelines.readers.drawn import draw_test, few
from pipelines.readers.raw import Raw
from pipelines.scaling import CACHE_LIMIT_BYTES
from pipelines.splits_base import BaseSplits

logger = logging.getLogger(__name__)
COLOURS = (1, 2, 3, 4)  # channels of an image
MOST_ELEMENTS = 10_000_000  # of a dataset: one without an end whose images are tiny fills 4 GiB only after days


def from_arrays(
    train,
    test=None,
    validation: int | float | tuple = 0,
    class_names=None,
    task: str = "auto",
    name: str = "arrays",
    batch_size: int = 128,
    eval_batch_size: int | None = None,
    seed: int = 0,
    augmentation: str = "auto",
    image_size: int | tuple[int, int] | None = None,
    max_train: int | None = None,
    max_test: int | None = None,
    reader: str = "auto",
) -> BaseSplits:
    """Splits of images and labels in NumPy arrays, for `dirac_keras.training.train`.

    Args:
        train: `(images, labels)`: images uint8 `(n, height, width, channels)` or `(n, height, width)`, values 0 to 255;
            labels `(n,)` whole numbers from 0 or names of classes; `(n, labels)` of 0 and 1; or `(n,)` or
            `(n, values)` numbers.
        test: likewise; None: a fixed fifth of `train`, of every class.
        validation: likewise, or how much of the training examples is held out: a count (int) or a share (float).
        class_names: names of the classes, labels or values; by default those in `train`, or numbers.
        task: "classes", "labels", "values", or "auto": by the labels' shape and type.
        name: of the data in the records of a run.
        batch_size, eval_batch_size, seed, augmentation, image_size, max_train, max_test, reader: as in `load_splits`;
            augmentation "auto" is "flip" for images of colour and "none" for grey ones.
    Returns: `Splits` or `ArraySplits`, whose batches are a function of seed and step as those of any data set.
    Raises: DataError: naming what does not fit.
    Example:
    >>> images = np.zeros((20, 8, 8, 1), "uint8")
    >>> from_arrays((images, np.arange(20) % 2), batch_size=4, reader="numpy").spec.num_test
    4
    """
    check_choice("task", task, ("auto", *TASKS))
    check_seed(seed)
    for key, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size),
                       ("max_train", max_train), ("max_test", max_test)):  # fmt: skip
        if value is not None:
            check_count(key, value, 1)
    size, engine = size_pair(image_size), find_engine(reader)
    pairs = {"train": _pair("train", train)}
    if test is not None:
        pairs["test"] = _pair("test", test)
    if isinstance(validation, tuple):
        pairs["validation"] = _pair("validation", validation)
        validation = 0
    _check_same_images(pairs)
    images = pairs["train"][0]
    if images.min() == images.max():
        logger.warning(
            "train: all pixels are %d. Images that were divided by 255 lose all they show when they become uint8",
            images.min(),
        )
    labels, names, task = as_labels({part: pair[1] for part, pair in pairs.items()}, class_names, task)
    if task != VALUES:
        tell_alike(name, names)
    parts = {part: Examples.in_memory(pairs[part][0], labels[part]) for part in pairs}
    if test is None:
        kept, drawn = draw_test(labels["train"], task)
        if not len(drawn):
            raise DataError(
                f"train has too few examples to draw a test part from: {few(labels['train'], task)}. Give `test`."
            )
        everything = parts["train"]
        parts |= {"train": everything.take(kept), "test": everything.take(drawn)}
    shape = pairs["train"][0].shape[1:]
    raw = Raw(
        parts["train"], parts["test"], names, shape, None, None,
        "flip" if shape[-1] >= 3 else "none", parts.get("validation"), task=task,
    )  # fmt: skip
    raw = limited(resized(raw, size, engine), max_train, max_test)
    return open_splits(raw, name, Rule(), engine, batch_size, eval_batch_size, validation, seed, augmentation)


def from_dataset(train, test=None, validation=0, name: str = "dataset", **options) -> BaseSplits:
    """Splits of a `tf.data.Dataset` that ends, or any other iterable of `(image, label)`, or of batches of them.

    Its elements are read once, in their order, and kept as uint8: batches of a training are drawn from anywhere in
    them, and a run that is resumed sees those it would have seen. So it must not repeat, and its own shuffling and
    augmentation are frozen as they came: give it without them.

    Args:
        train, test, validation: datasets; `test` and `validation` as in `from_arrays` otherwise.
        name, options: as in `from_arrays`.
    Raises: DataError: if one holds more than 4 GiB or 10 million elements, has no end, or no images and labels.
    """
    parts = {"train": train, "test": test, "validation": validation}
    read = {}
    for part, dataset in parts.items():
        is_dataset = dataset is not None and not isinstance(dataset, (int, float, np.number))
        read[part] = _materialized(part, dataset) if is_dataset else dataset
    return from_arrays(read["train"], read["test"], read["validation"], name=name, **options)


def _pair(part, pair) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a part, checked. Raises: DataError."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise DataError(f"{part} must be a pair (images, labels) of arrays. Received {part}={_kind_of(pair)}.")
    images, labels = np.asarray(pair[0]), np.asarray(pair[1])
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in COLOURS or not images.size:
        raise DataError(
            f"{part} must have images (n, height, width) or (n, height, width, channels) with channels last and 1 to 4 "
            f"of them. Received an array of shape {np.shape(pair[0])}."
        )
    _check_pixels(part, images)
    if labels.ndim not in (1, 2) or len(labels) != len(images):
        raise DataError(
            f"{part} must have a label for each image, (n,) or (n, labels). Received {counted(len(images), 'image')} "
            f"and labels of shape {labels.shape}."
        )
    return images, labels


def _check_pixels(part, images):
    if images.dtype == np.uint8:
        return
    low, high = (images.min(), images.max()) if images.dtype.kind in "uif" else (None, None)
    hint = "give uint8"
    if images.dtype.kind == "f" and not np.isfinite([low, high]).all():
        hint = "leave out the images with pixels that are not finite, and give uint8"
    elif images.dtype.kind == "f" and low is not None and low >= 0 and high <= 1:
        hint = 'give np.rint(255 * images).astype("uint8")'
    elif images.dtype.kind == "f" and -1 <= low < 0 and high <= 1:
        hint = 'give np.rint(127.5 * (images + 1)).astype("uint8") if they are scaled to -1 to 1'
    elif images.dtype.kind == "b":
        hint = 'give 255 * images.astype("uint8")'
    elif low is not None and low >= 0 and high <= 255:
        hint = 'give np.rint(images).astype("uint8")'
    elif images.dtype == np.uint16:
        hint = 'give (images // 257).astype("uint8"), or scale by the range that your images have'
    values = "" if low is None else f" with values from {low:g} to {high:g}"
    raise DataError(
        f"{part} must have images of type uint8, values 0 to 255, which are scaled by their own mean and deviation. "
        f"Received {images.dtype}{values}: {hint}."
    )


def _check_same_images(pairs):
    shape = pairs["train"][0].shape[1:]
    for part, (images, _) in pairs.items():
        if images.shape[1:] != shape:
            raise DataError(
                f"{part} must have images of the shape of train, {shape}. Received {images.shape[1:]}: resize them "
                "first."
            )


def _materialized(part, dataset):
    """`(images, labels)` of a dataset that ends."""
    cardinality = getattr(dataset, "cardinality", None)
    if cardinality is not None and int(cardinality()) == -1:  # tf.data.INFINITE_CARDINALITY
        raise DataError(f"{part} must be a dataset that ends. Received one that repeats: leave out its repeat().")
    images, labels, taken = [], [], 0
    for count, element in enumerate(_elements(part, dataset)):
        if count >= MOST_ELEMENTS:
            raise DataError(
                f"{part} has more than {MOST_ELEMENTS:,} elements. If it has no end, leave out its repeat(); else give "
                "it in batches, or as arrays."
            )
        if not isinstance(element, (tuple, list)) or len(element) != 2:
            hint = ""
            if isinstance(element, dict):  # of Hugging Face, or of tensorflow-datasets without as_supervised
                hint = f" with {', '.join(map(str, element))}: give pairs of two of them"
            raise DataError(f"{part} must have elements (image, label). Received {_kind_of(element)}{hint}.")
        image, label = np.asarray(element[0]), np.asarray(element[1])
        # Of three axes it is a batch of grey images, or one image whose last axis are its colours and rows its labels.
        is_one = image.shape[-1:] and image.shape[-1] in COLOURS and len(image) <= max(COLOURS)
        is_batch = image.ndim == 4 or (image.ndim == 3 and label.ndim and len(label) == len(image) and not is_one)
        _check_pixels(part, image) if image.size else None
        images.append(image if is_batch else image[None])
        labels.append(label if is_batch else label[None])
        taken += image.nbytes
        if taken > CACHE_LIMIT_BYTES:
            raise DataError(
                f"{part} takes more than {CACHE_LIMIT_BYTES / 2**30:g} GiB decoded, and a training reads its images in "
                'any order. Resize them, take fewer, or write them to files and give "folder:PATH" or "csv:FILE".'
            )
    if not images:
        raise DataError(f"{part} must have examples. Received a dataset without any.")
    shapes = {image.shape[1:] for image in images}
    if len(shapes) > 1:
        raise DataError(f"{part} must have images of one size. Received {sorted(shapes)[:3]}: resize them first.")
    widths = {label.shape[1:] for label in labels}
    if len(widths) > 1:
        raise DataError(
            f"{part} must have labels of one shape: a class, a row of 0 and 1 for each label, or values. Received "
            f"{sorted(widths)[:3]}."
        )
    labels = np.concatenate(labels)
    if labels.dtype == object or labels.dtype.kind == "S":
        labels = np.array([x.decode() if isinstance(x, bytes) else str(x) for x in labels.tolist()])
    return np.concatenate(images), labels


def _elements(part, dataset):
    if hasattr(dataset, "as_numpy_iterator"):
        return dataset.as_numpy_iterator()
    if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):  # PyDataset, which need not end when iterated
        return map(dataset.__getitem__, range(len(dataset)))
    try:
        return itertools.chain(dataset)
    except TypeError:
        raise DataError(f"{part} must be a tf.data.Dataset or an iterable. Received {_kind_of(dataset)}.") from None


def _kind_of(value):
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of {len(value)}"
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__}{'' if shape is None else f' of shape {tuple(shape)}'}"
