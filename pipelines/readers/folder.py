"""Folders of images, one sub-folder per class; `layout.py` has the layouts."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib

import numpy as np

from pipelines import scaling
from pipelines.decoding.rule import AS_VIEWERS_DO, Rule
from pipelines.engines import find_engine
from pipelines.examples import DataError, Examples
from pipelines.printable import printable
from pipelines.readers.alike import tell_alike
from pipelines.readers.layout import list_folder
from pipelines.readers.listing import Listing
from pipelines.readers.raw import Raw, check_labels, kept, some
from pipelines.readers.repeats import find_repeats
from pipelines.readers.survey import WHOLE, Survey
from pipelines.verdicts import Progress, marked

logger = logging.getLogger(__name__)

SMALL_SIDE = 96  # images of one common size up to this are used as they are
DEFAULT_SIDE = 224
RESIZE_RATIO = 8 / 7  # evaluation: shorter side 256 for a crop of 224 (arXiv:1706.00388, the authors' code)
SAMPLE = 64


@dataclasses.dataclass(frozen=True)
class Target:
    """What files are decoded to: image shape, evaluation resize, what to do with broken ones, and how to decode."""

    image_shape: tuple[int, int, int]
    resize: int | None
    on_broken: str
    rule: Rule = AS_VIEWERS_DO
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
    rule: Rule = AS_VIEWERS_DO,
    engine=None,
    whole: bool = False,
) -> Raw:
    """Read a folder of images.

    Images are decoded and scaled once into memory. A split that would take more than `scaling.CACHE_LIMIT_BYTES` is
    read from its files at every epoch instead; each is decoded once here, to know that it can be.

    Args:
        from_files: read training images from their files in any case: a random resized crop needs all of one.
        whole: all images are the test part, and stand for the training part.
    Raises: DataError: naming the folder or file that is missing, empty or broken.
    """
    if not path:
        raise DataError("folder: needs a path behind the colon, as in folder:PHOTOS.")
    root = pathlib.Path(path).expanduser()
    layout = list_folder(root, whole)
    class_names, listings = layout.class_names, layout.listings
    tell_alike(str(root), class_names)
    limits = {"train": max_train, "validation": max_test, "test": max_test}
    listings = {split: item.take(some(len(item.labels), limits[split])) for split, item in listings.items()}
    repeats = find_repeats(listings)
    for line in repeats.lines(str(root)):
        logger.warning(line)
    engine = engine or find_engine()
    first = next(iter(listings.values()))
    size, resize = sizes_of(Examples.in_files(first.paths, first.labels), channels, image_size, rule, engine)
    target = Target((*size, channels), resize, on_broken, rule, progress)
    broken: dict[str, str] = {}
    examples = {
        split: load(item, target, str(root / split), engine, from_files and split == "train", broken)
        for split, item in listings.items()
    }
    for split, item in examples.items():
        layout.passed.add("image files that cannot be decoded", None, len(listings[split].paths) - len(item))
        check_labels(item.labels, len(class_names), f"{printable(root)} ({split})")
    return Raw(
        train=examples["test" if whole else "train"],
        test=examples["test"],
        validation=examples.get("validation"),
        class_names=class_names,
        image_shape=target.image_shape,
        mean=None,
        std=None,
        augmentation="flip",
        resize=resize,
        survey=Survey(str(root), layout.folders, layout.passed, repeats, broken, WHOLE if whole else None),
    )


def load(
    listing: Listing, target: Target, source: str, engine, force_files: bool = False, broken: dict | None = None
) -> Examples:
    """Decode into memory where it fits, else keep the file names; `broken` gets those that cannot be, and why."""
    examples = marked(Examples.in_files(listing.paths, listing.labels))
    return decoded(examples, listing.paths, target, source, engine, force_files, broken)


def decoded(
    examples: Examples,
    names: list[str],
    target: Target,
    source: str,
    engine,
    force_encoded: bool = False,
    broken: dict | None = None,
) -> Examples:
    """Encoded examples, in files or in memory, decoded where that fits.

    Args:
        examples: `marked`.
        names: of the images.
        source: of all, for the log.
        force_encoded: whether they are left as they are, but for those that cannot be decoded.
        broken: dict that gets name -> reason of those.
    """
    broken = {} if broken is None else broken
    needed = len(examples) * int(np.prod(target.image_shape))
    if force_encoded or needed > scaling.CACHE_LIMIT_BYTES:
        if not force_encoded:
            logger.info(
                "%s would take %.1f GB in memory (limit %.1f): its files are decoded at every epoch",
                source, needed / 2**30, scaling.CACHE_LIMIT_BYTES / 2**30,
            )  # fmt: skip
        faults = engine.find_faults(examples, target.rule, progress=target.progress)
        broken |= {names[position]: why for position, why in faults.items()}
        return marked(examples.take(kept(names, faults, target.on_broken))) if faults else examples
    images, positions = engine.decode_files(examples, target)
    faults = {position: engine.reason(examples, position, target.rule) for position in positions}
    broken |= {names[position]: why for position, why in faults.items()}
    rows = kept(names, faults, target.on_broken)
    return Examples.in_memory(images[rows] if faults else images, examples.labels[rows], [names[k] for k in rows])


def sizes_of(
    examples: Examples, channels: int, image_size: tuple[int, int] | None, rule: Rule, engine
) -> tuple[tuple[int, int], int | None]:
    """The model's image size and the evaluation's `resize`, from the request and a sample of the encoded images."""
    found = set()
    for i in some(len(examples), SAMPLE):
        row = examples.rows[i]
        try:
            data = pathlib.Path(os.fsdecode(examples.paths[row])).read_bytes() if examples.encoded is None else None
            image, _ = engine.read(examples.encoded[row] if data is None else data, channels, rule)
        except OSError:
            image = None
        if image is not None:  # the others are reported when everything is decoded
            found.add(tuple(image.shape[:2]))
    common = next(iter(found)) if len(found) == 1 else None
    if image_size is None:
        image_size = common if common and max(common) <= SMALL_SIDE else (DEFAULT_SIDE, DEFAULT_SIDE)
    if common is not None:
        same_aspect = common[0] * image_size[1] == common[1] * image_size[0]
        if common == image_size or (same_aspect and max(common) <= SMALL_SIDE):
            return image_size, None  # a centre crop would only lose the border
    return image_size, round(max(image_size) * RESIZE_RATIO)
