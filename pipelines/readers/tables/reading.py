"""From a table to a data set: the rows that are used, their images decoded, described."""

from __future__ import annotations

import logging
import pathlib

import numpy as np

from pipelines.decoding.rule import AS_VIEWERS_DO, Rule
from pipelines.examples import CLASSES, VALUES, Examples
from pipelines.printable import printable
from pipelines.readers.folder import Target, decoded, sizes_of
from pipelines.readers.listing import Listing
from pipelines.readers.raw import Raw, some
from pipelines.readers.repeats import Repeats, find_repeats
from pipelines.readers.survey import DRAWN, WHOLE, Survey
from pipelines.readers.tables.columns import find_columns
from pipelines.readers.tables.csv_files import read_csv
from pipelines.readers.tables.doubts import tell_doubts
from pipelines.readers.tables.hugging_face import read_hugging_face
from pipelines.readers.tables.parquet_files import read_parquet
from pipelines.readers.tables.rows import check_rows
from pipelines.readers.tables.table import Table
from pipelines.readers.tables.targets import read_targets
from pipelines.verdicts import Progress, marked

logger = logging.getLogger(__name__)
PREFIXES = ("csv:", "parquet:", "hf:")


def open_table(name: str, download: bool = False) -> Table:
    """The table of a name that begins with one of `PREFIXES`. Raises: DataError: if it cannot be read."""
    kind, _, place = name.partition(":")
    if kind == "hf":
        return read_hugging_face(place, download)
    path = pathlib.Path(place).expanduser()
    return read_csv(path) if kind == "csv" else read_parquet(path)


def read_table(
    table: Table,
    columns=None,
    task: str = "auto",
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
    """Read the images that a table names or holds, as `read_folder` does those of a folder.

    Args:
        columns: see `find_columns`.
        task: see `read_targets`.
        image_size, channels, from_files, on_broken, max_train, max_test, progress, rule, engine, whole: as in
            `read_folder`.
    Raises: DataError: naming the rows, files or cells that do not fit.
    """
    found = find_columns(table, columns)
    targets = read_targets(table, found, task)
    rows = check_rows(table, found, targets, on_broken, whole)
    if targets.task != VALUES:
        tell_doubts(table.source, targets.names)
    limits = {"train": max_train, "validation": max_test, "test": max_test}
    parts = {part: where[some(len(where), limits[part])] for part, where in rows.parts.items()}
    passed, repeats = rows.passed, Repeats({}, [])
    if not rows.in_bytes:
        repeats = find_repeats({part: _listing(rows, where, targets.task) for part, where in parts.items()})
        for line in repeats.lines(str(table.folder)):
            logger.warning(line)
    encoded = {part: marked(_examples(rows, where)) for part, where in parts.items()}
    size, resize = sizes_of(next(iter(encoded.values())), channels, image_size, rule, engine)
    target = Target((*size, channels), resize, on_broken, rule, progress)
    broken: dict[str, str] = {}
    examples = {}
    for part, item in encoded.items():
        names = [rows.names[k] for k in parts[part]]
        source = f"{printable(table.source)} ({part})"
        examples[part] = decoded(item, names, target, source, engine, from_files and part == "train", broken)
        passed.add("images that cannot be decoded", None, len(item) - len(examples[part]))
    which = "one class of each image" if targets.task == CLASSES else f"{targets.task} of each image"
    logger.info(
        "%s: images in the column %s, %s in %s", printable(table.source), printable(found.image), which,
        ", ".join(map(printable, found.label)),
    )  # fmt: skip
    where = WHOLE if whole else DRAWN if rows.drawn else "parts as the table names them"
    return Raw(
        train=examples["test" if whole else "train"],
        test=examples["test"],
        validation=examples.get("validation"),
        class_names=targets.names,
        image_shape=target.image_shape,
        mean=None,
        std=None,
        augmentation="flip",
        resize=resize,
        survey=Survey(table.source, {}, passed, repeats, broken, where, targets.task),
        task=targets.task,
        columns=found.to_dict(),
    )


def _examples(rows, where):
    images, labels = [rows.images[k] for k in where], rows.labels[where]
    if rows.in_bytes:
        return Examples.in_bytes(images, labels, [rows.names[k] for k in where])
    return Examples.in_files(images, labels)


def _listing(rows, where, task):
    """Of labels and values, files that repeat others may differ in what is told of them: only parts are compared."""
    labels = rows.labels[where] if task == CLASSES else np.zeros(len(where), int)
    return Listing([rows.images[k] for k in where], labels)
