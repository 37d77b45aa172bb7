"""What a table says of each image, as numbers: a class, labels, or values."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np

from pipelines.examples import CLASSES, LABELS, VALUES, DataError
from pipelines.printable import printable
from pipelines.readers.tables.columns import Columns, as_bit, holds_bits, is_missing
from pipelines.readers.tables.table import Table

SEPARATORS = re.compile(r"[|;]")  # between the labels of a cell


@dataclasses.dataclass(frozen=True)
class Targets:
    """What is to be told of each row's image.

    Args:
        task: one of `TASKS`.
        names: of the classes, labels or values.
        labels: as `Examples` has them; what stands in rows of `empty` means nothing.
        empty: rows whose label is absent: of labels in one column none, since an image may have no label; of labels in
            several, rows of which a cell says neither 0 nor 1.
    """

    task: str
    names: tuple[str, ...]
    labels: np.ndarray
    empty: np.ndarray


def read_targets(table: Table, columns: Columns, task: str = "auto") -> Targets:
    """The targets of all rows.

    Args:
        task: one of `TASKS`, or "auto": several columns are labels if they hold 0 and 1 alone, else values; a column is
            of labels if a cell has several, `|` or `;` between them, of values if it holds numbers of which some have a
            fraction, else of classes.
    Raises: DataError: if the cells do not fit the task.
    """
    cells = [_with_gaps(table.columns[name]) for name in columns.label]
    task = _task_of(table, columns, cells) if task == "auto" else task
    if task == VALUES:
        return _values(table, columns, cells)
    if len(cells) > 1:
        if task == CLASSES:
            raise DataError(
                f'task="classes" takes one column of labels. Received label={", ".join(columns.label)}: name one in '
                "`columns`."
            )
        return _bits(table, columns, cells)
    if task == LABELS:
        return _several(table, columns, cells[0])
    return _classes(table, columns, cells[0])


def _with_gaps(column):
    """Cells with None for NaN, also for the word in a column whose other cells are numbers: a value that is missing."""
    is_nan = [_is_nan(cell) for cell in column]
    rest = [cell for cell, nan in zip(column, is_nan, strict=True) if not nan and cell is not None]
    is_text = all(isinstance(cell, str) for cell in column if cell is not None)
    if is_text and (not rest or any(_float(cell) is None for cell in rest)):
        return column  # names of classes, of which one may be nan
    return [None if nan else cell for cell, nan in zip(column, is_nan, strict=True)]


def _is_nan(cell):
    number = _float(cell)
    return number is not None and math.isnan(number)


def _float(cell):
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def _task_of(table, columns, cells):
    if len(cells) > 1:
        return LABELS if all(map(holds_bits, cells)) else VALUES
    (column,), name = cells, columns.label[0]
    if any(isinstance(cell, (list, tuple)) for cell in column):
        return LABELS
    if name in table.class_names:
        return CLASSES
    if any(isinstance(cell, str) and SEPARATORS.search(cell) for cell in column):
        return LABELS
    numbers = [None if isinstance(cell, bool) else _float(cell) for cell in column if cell is not None]
    if not numbers or None in numbers:
        return CLASSES
    return VALUES if any(not math.isfinite(number) or number % 1 for number in numbers) else CLASSES


def _number(cell):
    """A cell as a finite float, else None."""
    number = _float(cell)
    return None if number is None or isinstance(cell, bool) or not math.isfinite(number) else number


def _text(cell):
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "backslashreplace")
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip()


def _classes(table, columns, column):
    known = table.class_names.get(columns.label[0])
    empty = np.array([cell is None or not _text(cell) or (cell == -1 and known is not None) for cell in column])
    if known is not None:
        return Targets(
            CLASSES, tuple(known), np.array([0 if e else int(c) for e, c in zip(empty, column, strict=True)]), empty
        )
    texts = [None if absent else _text(cell) for cell, absent in zip(column, empty, strict=True)]
    names = _ordered({text for text in texts if text is not None})
    numbers = {name: number for number, name in enumerate(names)}
    return Targets(CLASSES, tuple(names), np.array([numbers.get(text, 0) for text in texts]), empty)


def _several(table, columns, column):
    known = table.class_names.get(columns.label[0])
    rows = []
    for cell in column:
        if isinstance(cell, (list, tuple)):
            items = [known[item] if known is not None else item for item in cell]
        else:
            items = [] if cell is None else SEPARATORS.split(_text(cell))
        rows.append({_text(item) for item in items if item is not None and _text(item)})
    names = known if known is not None else _ordered(set().union(*rows))
    if not names:
        raise DataError(f"{printable(table.source)} has no label in its column {columns.label[0]}.")
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.zeros((len(rows), len(names)), np.int32)
    for index, row in enumerate(rows):
        labels[index, [numbers[name] for name in row]] = 1
    return Targets(LABELS, tuple(map(str, names)), labels, np.zeros(len(rows), bool))


def _bits(table, columns, cells):
    labels = np.zeros((len(cells[0]), len(cells)), np.int32)
    empty = np.zeros(len(cells[0]), bool)
    for k, (name, column) in enumerate(zip(columns.label, cells, strict=True)):
        missing = [is_missing(cell) for cell in column]
        bits = [0 if gap else as_bit(cell) for cell, gap in zip(column, missing, strict=True)]
        if None in bits:
            first = bits.index(None)
            raise DataError(
                f"{printable(table.source)}: the column {printable(name)} must hold 0 and 1 alone to be a label. "
                f"Received {column[first]!r} in {table.row(first)} and {bits.count(None) - 1:,} other rows."
            )
        labels[:, k] = bits
        empty |= missing
    return Targets(LABELS, columns.label, labels, empty)


def _values(table, columns, cells):
    values = np.zeros((len(cells[0]), len(cells)), np.float32)
    empty = np.zeros(len(cells[0]), bool)
    for k, (name, column) in enumerate(zip(columns.label, cells, strict=True)):
        for index, cell in enumerate(column):
            if cell is None:
                empty[index] = True
                continue
            number = _number(cell)
            if number is None:
                raise DataError(
                    f"{printable(table.source)}: the column {printable(name)} must hold finite numbers to be a value. "
                    f"Received {cell!r} in {table.row(index)}."
                )
            values[index, k] = number
    return Targets(VALUES, columns.label, values, empty)


def _ordered(names):
    """Sorted; as numbers where all are whole ones, 01 before 1: the order of a set is another one in each process."""
    if names and all(re.fullmatch(r"-?\d+", name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)
