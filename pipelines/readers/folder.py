"""Folders of images, one sub-folder per class; `layout.py` has the layouts."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pipelines import augment, scaling
from pipelines.encoded import HEAD_BYTES, TAIL_BYTES, decode, whole_kind
from pipelines.examples import DataError, Examples
from pipelines.readers.layout import Listing, list_folder
from pipelines.readers.raw import Raw, check_labels, kept, some
from pipelines.streams import PARALLEL_CALLS, stream_options

logger = logging.getLogger(__name__)

SMALL_SIDE = 96  # images of one common size up to this are used as they are
DEFAULT_SIDE = 224
RESIZE_RATIO = 8 / 7  # evaluation: shorter side 256 for a crop of 224 (arXiv:1706.00388, section 3.3)
SAMPLE = 64
REPORT_SECONDS = 5.0

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Target:
    """What files are decoded to: image shape, evaluation resize, and what to do with broken ones."""

    image_shape: tuple[int, int, int]
    resize: int | None
    on_broken: str
    progress: Progress | None = None


def read_folder(
    path: str,
    image_size: tuple[int, int] | None = None,
    channels: int = 3,
    from_files: bool = False,
    on_broken: str = "fail",
    max_train: int | None = None,
    max_test: int | None = None,
    progress: Progress | None = None,
) -> Raw:
    """Read a folder of images.

    Images are decoded and scaled once into memory. A split that would take more than `scaling.CACHE_LIMIT_BYTES` is
    read from its files at every epoch instead; then only the files' first and last bytes are checked here.

    Args:
        from_files: read training images from their files in any case: a random resized crop needs all of one.
    Raises: DataError: naming the folder or file that is missing, empty or broken.
    """
    if not path:
        raise DataError("folder: needs a path behind the colon, as in folder:PHOTOS.")
    root = pathlib.Path(path).expanduser()
    class_names, listings = list_folder(root)
    limits = {"train": max_train, "validation": max_test, "test": max_test}
    listings = {split: item.take(some(len(item.labels), limits[split])) for split, item in listings.items()}
    size, resize = _sizes(listings["train"].paths, channels, image_size)
    target = Target((*size, channels), resize, on_broken, progress)
    examples = {
        split: load(item, target, str(root / split), force_files=from_files and split == "train")
        for split, item in listings.items()
    }
    for split, item in examples.items():
        check_labels(item.labels, len(class_names), f"{root} ({split})")
    return Raw(
        train=examples["train"],
        test=examples["test"],
        validation=examples.get("validation"),
        class_names=class_names,
        image_shape=target.image_shape,
        mean=None,
        std=None,
        augmentation="flip",
        resize=resize,
    )


def load(listing: Listing, target: Target, source: str, force_files: bool = False) -> Examples:
    """Decode into memory where it fits, else keep the file names."""
    needed = len(listing.paths) * int(np.prod(target.image_shape))
    if force_files or needed > scaling.CACHE_LIMIT_BYTES:
        if not force_files:
            logger.info(
                "%s would take %.1f GB in memory (limit %.1f): its files are decoded at every epoch",
                source, needed / 2**30, scaling.CACHE_LIMIT_BYTES / 2**30,
            )  # fmt: skip
        kinds = [_kind_of_file(path) for path in listing.paths]
        broken = [i for i, kind in enumerate(kinds) if kind is None]
        listing = listing.take(kept(listing.paths, broken, target.on_broken))
        return Examples.in_files(listing.paths, listing.labels, only_jpegs={*kinds} <= {"jpeg", None})
    images, broken = decode_files(listing.paths, target)
    rows = kept(listing.paths, broken, target.on_broken)
    return Examples.in_memory(images[rows] if broken else images, listing.labels[rows])


def decode_files(paths: list[str], target: Target) -> tuple[np.ndarray, list[int]]:
    """Decode files to `(n, h, w, c)` uint8, and say which could not be; their rows are undefined."""
    images = np.empty((len(paths), *target.image_shape), np.uint8)
    seen = np.zeros(len(paths), bool)
    names = tf.constant(paths)

    def read(index):
        image = decode(tf.io.read_file(names[index]), target.image_shape[2])
        return index, augment.evaluation_view(image, target.image_shape, target.resize)

    stream = tf.data.Dataset.range(len(paths)).map(read, num_parallel_calls=PARALLEL_CALLS)
    stream = stream.ignore_errors(log_warning=False).batch(64).prefetch(2).with_options(stream_options())
    reported, done = time.perf_counter(), 0
    for index, batch in stream.as_numpy_iterator():
        images[index], seen[index] = batch, True
        done += len(index)
        if target.progress is not None:
            target.progress(done, len(paths))
        elif time.perf_counter() - reported > REPORT_SECONDS:
            reported = time.perf_counter()
            logger.info("decoded %s of %s images", f"{done:,}", f"{len(paths):,}")
    return images, np.flatnonzero(~seen).tolist()


def _sizes(paths: list[str], channels: int, image_size: tuple[int, int] | None) -> tuple[tuple[int, int], int | None]:
    """The model's image size and the evaluation's `resize`, from the request and a sample of the files."""
    found = set()
    for i in some(len(paths), SAMPLE):
        try:
            found.add(tuple(decode(tf.io.read_file(paths[i]), channels).shape[:2]))
        except tf.errors.OpError:
            continue  # reported with all the others when everything is decoded
    common = next(iter(found)) if len(found) == 1 else None
    if image_size is None:
        image_size = common if common and max(common) <= SMALL_SIDE else (DEFAULT_SIDE, DEFAULT_SIDE)
    if common is not None:
        same_aspect = common[0] * image_size[1] == common[1] * image_size[0]
        if common == image_size or (same_aspect and max(common) <= SMALL_SIDE):
            return image_size, None  # a centre crop would only lose the border
    return image_size, round(max(image_size) * RESIZE_RATIO)


def _kind_of_file(path: str) -> str | None:
    """`whole_kind` of a file. Finds empty, foreign and cut files without decoding."""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_BYTES))
        return whole_kind(head, file.read())
