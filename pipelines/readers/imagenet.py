"""ImageNet (ILSVRC 2012) as tensorflow-datasets prepares it. Its images are never all decoded at once.

Up to `ENCODED_LIMIT_BYTES` a split's encoded images are kept in memory; a larger one is read from its TFRecord files,
each image on its own wherever it lies. So the order of an epoch is a permutation of all images, and a run resumes at
any step exactly, as with the small data sets. What it costs is a seek an image: nothing on a solid-state disk or once
the files are in the system's cache, too much on a disk with moving parts, from which nobody should train on ImageNet.
"""

from __future__ import annotations

import logging
import os
import pathlib

import numpy as np

from pipelines.decoding.rule import AS_VIEWERS_DO, HEAD_BYTES, USUAL, Rule
from pipelines.engines import find_engine
from pipelines.examples import DataError, Examples, Records
from pipelines.printable import counted
from pipelines.readers.named import find_version
from pipelines.readers.prepared import Prepared
from pipelines.readers.raw import Raw, check_labels, kept, some
from pipelines.readers.records import RecordError, index_records, read_ends
from pipelines.readers.storage import damaged, data_folder
from pipelines.verdicts import WRONG_CHECKSUM, marked

logger = logging.getLogger(__name__)

NAME, VERSION, NUM_CLASSES = "imagenet2012", "5.1.0", 1000
TRAIN, TEST = "train", "validation"  # the authors' test part has no labels
# arXiv:1706.00388, the authors' code, by way of torchvision
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE, RESIZE_RATIO = 224, 8 / 7  # evaluation: shorter side 256 for a crop of 224
ENCODED_LIMIT_BYTES = 2**30
TAIL_BYTES = 64
PREPARE = "prepare it again"  # nobody can fetch it


def read_imagenet(
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    image_size: tuple[int, int] | None = None,
    on_broken: str = "fail",
    max_train: int | None = None,
    max_test: int | None = None,
    rule: Rule = AS_VIEWERS_DO,
    engine=None,
) -> Raw:
    """Find the images of a prepared ImageNet. Raises: DataError: if it is absent, damaged or has broken images."""
    path = _prepared_folder(data_folder(data_dir), download)
    engine = engine or find_engine()
    prepared = engine.open_prepared(path)
    count = len(prepared.class_names)
    if count != NUM_CLASSES:
        raise DataError(
            f"{path} describes {counted(count, 'class', 'classes')}, {NAME} has {NUM_CLASSES}. Prepare it again."
        )
    size = image_size or (SIDE, SIDE)
    return Raw(
        train=read_split(prepared, TRAIN, on_broken, max_train, rule, engine),
        test=read_split(prepared, TEST, on_broken, max_test, rule, engine),
        class_names=prepared.class_names,
        image_shape=(*size, 3),
        mean=tuple(round(255 * value, 3) for value in MEAN),
        std=tuple(round(255 * value, 3) for value in STD),
        augmentation="imagenet",
        resize=round(max(size) * RESIZE_RATIO),
    )


def _prepared_folder(data: pathlib.Path, download: bool) -> pathlib.Path:
    path = find_version(data / NAME, VERSION)
    if path is None:
        hint = " `download=True` cannot fetch it: its authors hand it out by name." if download else ""
        raise DataError(
            f"{NAME} was not found in {data}: looked for {NAME}/{VERSION}.{hint} Put ILSVRC2012_img_train.tar and "
            f"ILSVRC2012_img_val.tar from image-net.org into {data}/downloads/manual and call "
            f"tensorflow_datasets.builder('{NAME}', data_dir='{data}').download_and_prepare(), or give the folder that "
            "has it as `data_dir`. A folder of its images is read with folder:PATH."
        )
    return path


def read_split(prepared: Prepared, split: str, on_broken: str, limit: int | None, rule: Rule, engine) -> Examples:
    """Find the images of one split, whole ones only. Raises: DataError: if records are missing or images broken.

    The images of a split that is kept in memory are decoded here once, their records' checksums checked. To read all of
    a larger one takes minutes to hours: its images' ends are looked at, and the rest is found when it is read. With
    `on_broken="skip"` it is read here all the same.
    """
    shards, path = prepared.shards_of(split, PREPARE), prepared.path
    try:
        index = index_records(shards.files, shards.counts, engine)
    except RecordError as error:
        raise damaged(path, str(error), PREPARE) from error
    chosen = some(len(index.labels), limit)
    if index.records.lengths[chosen].sum() <= ENCODED_LIMIT_BYTES:
        images = list(engine.read_images(index.records, chosen))
        damaged_records = {i: WRONG_CHECKSUM for i, image in enumerate(images) if image is None}
        examples = marked(Examples.in_bytes([image or b"" for image in images], index.labels[chosen]))
        (examples,) = engine.hold(examples)
        faults = engine.find_faults(examples, rule) | damaged_records
    else:
        doubtful = _doubtful(index.records, chosen)
        examples = Examples.in_records(index.records, index.labels, only_usual=not doubtful).take(chosen)
        faults = engine.find_faults(examples, rule, None if on_broken == "skip" else doubtful)
    examples = examples.take(kept([index.names[i] for i in chosen], dict(sorted(faults.items())), on_broken))
    if len(examples) == 0:
        raise DataError(f"{path} ({split}) has no image that can be decoded. Get the data again.")
    check_labels(examples.labels, NUM_CLASSES, f"{path} ({split})")
    return examples


def _doubtful(records: Records, rows: np.ndarray) -> list[int]:
    """Positions in `rows` of the images that do not plainly begin and end as a JPEG or PNG."""
    plain = tuple(zip(USUAL, (b"\xff\xd9", b"IEND"), strict=True))
    ends = read_ends(records, rows, head=HEAD_BYTES, tail=TAIL_BYTES)
    return [
        i
        for i, (head, tail) in enumerate(ends)
        if not any(head.startswith(start) and end in tail for start, end in plain)
    ]
