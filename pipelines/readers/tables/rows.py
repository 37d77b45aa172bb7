"""The rows of a table, checked: files that are there, labels that fit, nothing twice, parts."""

from __future__ import annotations

import dataclasses
import logging
import os
import re

import numpy as np

from pipelines.examples import CLASSES, LABELS, DataError
from pipelines.printable import counted, printable, some_of
from pipelines.readers.alike import beside_alike
from pipelines.readers.drawn import draw_test, few
from pipelines.readers.part_names import describe_names, part_of
from pipelines.readers.passed_over import PassedOver
from pipelines.readers.tables.columns import Columns
from pipelines.readers.tables.table import Table
from pipelines.readers.tables.targets import Targets

logger = logging.getLogger(__name__)
SHOWN = 5
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows that are used.

    Args:
        images: paths, or encoded images as bytes.
        names: of the images, for messages.
        labels: as `Examples` has them.
        parts: part -> positions in these lists.
        passed: rows that are not used.
        in_bytes: whether the table holds the images themselves.
        drawn: whether the test part was drawn, as nothing says which rows are of it.
    """

    images: list
    names: list[str]
    labels: np.ndarray
    parts: dict[str, np.ndarray]
    passed: PassedOver
    in_bytes: bool
    drawn: bool


def check_rows(table: Table, columns: Columns, targets: Targets, on_broken: str, whole: bool = False) -> Rows:
    """The rows that are used; with `on_broken="skip"` those without a file or a label are left out and counted.

    With `whole` all of them are the test part.

    Raises: DataError: if files or labels are missing, an image is in two parts or has two labels, or a part has labels
        that the training part lacks; with the first names and the count.
    """
    passed = PassedOver(str(table.folder))
    images, names, in_bytes = _images(table, columns)
    lacking = {
        "rows without an image": [k for k, image in enumerate(images) if image is None],
        "rows with a URL, which is not fetched": [k for k, name in enumerate(names) if URL.match(name)],
        "rows whose files are absent": [] if in_bytes else _absent(images),
        "rows without a label": np.flatnonzero(targets.empty).tolist(),
    }
    lost: set[int] = set()
    for what, found in lacking.items():
        _lacking(table, what, [k for k in found if k not in lost], names, on_broken, passed)
        lost |= set(found)
    kept = np.array([k for k in range(len(table)) if k not in lost], np.int64)
    if not len(kept):
        raise DataError(f"{printable(table.source)} has no row that can be used{passed.inline()}.")
    part = _parts_of(table, columns)
    kept = kept if in_bytes else _once(table, kept, images, names, targets, part, passed)
    labels = targets.labels[kept]
    if whole:
        positions = {"test": np.arange(len(kept))}
    elif part is None:
        train, test = draw_test(labels, targets.task)
        if not len(test):
            raise DataError(
                f"{printable(table.source)} has too few rows to draw a test part from: {few(labels, targets.task)}. "
                "Add a split column."
            )
        positions = {"train": train, "test": test}
    else:
        positions = _positions(table, [part[k] for k in kept])
    if not whole:
        _check_known(table, targets, labels, positions)
    return Rows([images[k] for k in kept], [names[k] for k in kept], labels, positions, passed, in_bytes, part is None)


def has_validation(table: Table, columns: Columns) -> bool:
    """Whether a table has rows for validation beside those for the test."""
    part = _parts_of(table, columns)
    return part is not None and {"validation", "test"} <= set(part)


def _images(table, columns):
    """`(paths or bytes, names, whether they are bytes)`; None where a cell is empty."""
    cells = table.columns[columns.image]
    cells = [_unwrapped(cell) for cell in cells]
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds == {bytes}:
        return cells, [table.row(k) for k in range(len(cells))], True
    if kinds - {str}:
        raise DataError(
            f"{printable(table.source)}: the column {printable(columns.image)} must hold paths of image files, or "
            f"encoded images as bytes. Received {', '.join(sorted(kind.__name__ for kind in kinds))}."
        )
    paths = [None if cell is None else _path(table, cell) for cell in cells]
    return paths, [path or table.row(k) for k, path in enumerate(paths)], False


def _path(table, cell):
    return cell if URL.match(cell) else os.path.join(table.folder, os.path.expanduser(cell))


def _unwrapped(cell):
    """A cell as Hugging Face writes images, `{"bytes", "path"}`, as the one of the two that there is."""
    if isinstance(cell, dict) and set(cell) <= {"bytes", "path"}:
        return cell.get("bytes") or cell.get("path") or None
    return cell or None


def _absent(paths):
    return [k for k, path in enumerate(paths) if path is not None and not os.path.isfile(path)]


def _lacking(table, what, found, names, on_broken, passed):
    if not found:
        return
    shown = [f"{table.row(k)} ({_short(table, names[k])})" if names[k] != table.row(k) else names[k] for k in found]
    if on_broken != "skip":
        relative = (
            f" Paths are relative to the table's folder, {printable(os.path.abspath(table.folder))}."
            if "files" in what
            else ""
        )
        raise DataError(
            f"{len(found):,} of {counted(len(table), 'row')} of {printable(table.source)}: {what}: "
            f'{some_of(shown, SHOWN)}.{relative} Complete them, or leave them out with `on_broken="skip"`.'
        )
    logger.warning("%s: left out %s %s: %s", printable(table.source), f"{len(found):,}", what, some_of(shown, SHOWN))
    for k in found:
        passed.add(what, names[k])


def _short(table, path):
    return printable(path if URL.match(path) else os.path.relpath(path, table.folder))


def _parts_of(table, columns):
    """The part of each row, None where nothing says it."""
    if columns.split is None:
        return table.part
    cells = table.columns[columns.split]
    known = {cell: part_of(str(cell)) for cell in set(cells)}
    unknown = [printable(cell) for cell, part in known.items() if part is None]
    if unknown:
        raise DataError(
            f"{printable(table.source)}: the column {printable(columns.split)} must name parts. Received "
            f"{some_of(sorted(unknown), SHOWN)}. Names of parts: {describe_names()}. If it is no such column, "
            "rename it, or name another in `columns`."
        )
    return [known[cell] for cell in cells]


def _once(table, kept, paths, names, targets, part, passed):
    """Rows without those that say what one before them says; one that says otherwise is an error."""
    first: dict[str, int] = {}
    once, other_label, other_part = [], [], []
    for k in kept:
        before = first.setdefault(os.path.normpath(paths[k]), k)
        if before == k:
            once.append(k)
        elif not np.array_equal(targets.labels[k], targets.labels[before]):
            other_label.append((before, k))
        elif part is not None and part[k] != part[before]:
            other_part.append((before, k))
        else:
            passed.add("rows that repeat one before them", names[k])
    for what, found in (("with different labels", other_label), ("in different parts", other_part)):
        if found:
            shown = [f"{_short(table, names[j])} ({table.row(i)} and {table.row(j)})" for i, j in found]
            raise DataError(
                f"{printable(table.source)} has {counted(len(found), 'image')} in two rows {what}: "
                f"{some_of(shown, SHOWN)}. "
                f"Keep one row of each{', with all its labels, as cat|dog' if targets.task == LABELS else ''}."
            )
    return np.array(once, np.int64)


def _positions(table, part):
    found = {
        name: np.array([k for k, one in enumerate(part) if one == name]) for name in ("train", "validation", "test")
    }
    found = {name: positions for name, positions in found.items() if len(positions)}
    if "test" not in found and "validation" in found:  # as folders have it
        found["test"] = found.pop("validation")
    absent = [name for name in ("train", "test") if name not in found]
    if absent:
        raise DataError(
            f"{printable(table.source)} has no row of the {absent[0]} part, though it names parts. Add some, or leave "
            "out the split column, and a fifth of the rows is drawn for the test."
        )
    return found


def _check_known(table, targets, labels, positions):
    """Raises: DataError: if a part has classes or labels that no training row has, which a network cannot learn."""
    if targets.task not in (CLASSES, LABELS):
        return

    def there(rows):
        if targets.task == LABELS:
            return set(np.flatnonzero(labels[rows].any(0)).tolist())
        return set(labels[rows].tolist())

    known = there(positions["train"])
    for name, rows in positions.items():
        unknown = sorted(there(rows) - known)
        if unknown:
            shown = beside_alike([targets.names[k] for k in unknown], (targets.names[k] for k in known), "train")
            raise DataError(
                f"{printable(table.source)}: the {name} part has {_counted(len(unknown), targets.task)} that the "
                f"training part lacks: {some_of(shown, SHOWN)}. Rename them, remove those rows, or move some "
                "to the training part."
            )


def _counted(number, task):
    """`1 class`, `2 labels`."""
    return counted(number, {"classes": "class", "labels": "label", "values": "value"}[task], task)
