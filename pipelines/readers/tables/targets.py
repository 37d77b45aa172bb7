"""What a table says of each image, as numbers: a class, labels, or values."""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata

import numpy as np

from pipelines.examples import CLASSES, LABELS, VALUES, DataError
from pipelines.printable import counted, printable, some_of
from pipelines.readers.tables.columns import Columns, as_bit, holds_bits, is_missing
from pipelines.readers.tables.lists import as_lists, columns_of
from pipelines.readers.tables.table import Table

SEPARATORS = re.compile(r"[|;]")  # between the labels of a cell
WHOLE_FLOAT = re.compile(r"(-?\d+)\.0*")  # a whole number as pandas writes it once a cell of the column was missing
# A number with a comma for its decimals or thousands, or as a share: no name of a class looks like that.
LARGEST = float(np.finfo(np.float32).max)
OTHER_NUMBER = re.compile(r"[-+]?\d+(,\d+)+(\.\d*)?|[-+]?\d*[.,]?\d+ ?%")


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
            fraction, else of classes. A column of lists of one length that hold 0 and 1 alone, or numbers with a
            fraction, counts as several.
    Raises: DataError: if the cells do not fit the task, or could be of two.
    """
    cells = [as_lists(_with_gaps(table.columns[name])) for name in columns.label]
    names = columns.label
    if len(cells) == 1 and names[0] not in table.class_names:
        vectors = columns_of(table, names[0], cells[0])
        if vectors is not None:
            cells, names = vectors, tuple(f"{names[0]}{k}" for k in range(len(vectors)))
    is_auto = task == "auto"
    task = _task_of(table, columns, cells) if is_auto else task
    if task == VALUES:
        return _values(table, names, cells)
    if len(cells) > 1:
        return _of_bits(table, names, cells, task, is_auto)
    if task == LABELS:
        return _several(table, columns, cells[0])
    if is_auto:
        _check_no_numbers(table, columns, cells[0])
    return _classes(table, columns, cells[0])


def _of_bits(table, names, cells, task, is_auto):
    """Labels, or classes, of several columns of 0 and 1."""
    found = _bits(table, names, cells)
    is_one = found.labels[~found.empty].sum(1) == 1
    if task == CLASSES:
        if not is_one.all():
            first = np.flatnonzero(~found.empty)[np.flatnonzero(~is_one)[0]]
            raise DataError(
                f'{printable(table.source)}: `task="classes"` takes one column, or several with a single 1 in '
                f"each row. Received {found.labels[first].sum()} in {table.row(first)} of {_first(names)}: give "
                '`task="labels"` if an image may have several or none.'
            )
        return Targets(CLASSES, names, found.labels.argmax(1), found.empty)
    if is_auto and len(is_one) > 1 and is_one.all():
        raise DataError(
            f"{printable(table.source)}: each row of {_first(names)} has a single 1. Give "
            '`task="classes"` if each image has one class, or `task="labels"` if they may have several labels or none.'
        )
    return found


def _first(names, most=4):
    return some_of(list(map(printable, names)), most)


def _check_no_numbers(table, columns, column):
    """Raises: DataError: if each cell is a number that is written in another way, as 0,5 or 50%: no name of a class."""
    texts = [cell.strip() for cell in column if isinstance(cell, str) and cell.strip()]
    others = [text for text in texts if OTHER_NUMBER.fullmatch(text)]
    if not others or any(_float(text) is None for text in set(texts) - set(others)):
        return
    raise DataError(
        f"{printable(table.source)}: the column {printable(columns.label[0])} has numbers such as "
        f'{printable(others[0])}. Write them as 1234.5 if they are values, or give `task="classes"` if they are names.'
    )


def _with_gaps(column):
    """Cells with None for NaN, and for words as NA where all other cells are numbers: a value that is missing."""
    is_gap = [is_missing(cell) for cell in column]
    rest = [cell for cell, gap in zip(column, is_gap, strict=True) if not gap]
    is_text = all(isinstance(cell, str) for cell in column if cell is not None)
    if is_text and (not rest or any(_float(cell) is None for cell in rest)):
        return column  # names of classes, of which one may be nan
    return [None if gap else cell for cell, gap in zip(column, is_gap, strict=True)]


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
    """A cell as a number that is finite in float32, else None."""
    number = _float(cell)
    return None if number is None or isinstance(cell, bool) or not abs(number) <= LARGEST else number


def _text(cell):
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "backslashreplace")
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return unicodedata.normalize("NFC", str(cell).strip())  # as names of folders: one look is one name


def _of_one_spelling(texts):
    """Names as texts; where all are whole numbers, 1.0 is 1, as in a column of floats."""
    if not all(text is None or re.fullmatch(r"-?\d+|" + WHOLE_FLOAT.pattern, text) for text in texts):
        return texts
    return [None if text is None else WHOLE_FLOAT.sub(r"\1", text) for text in texts]


def _classes(table, columns, column):
    known = table.class_names.get(columns.label[0])
    empty = np.array([cell is None or not _text(cell) or (cell == -1 and known is not None) for cell in column])
    if known is not None:
        numbers = [
            0 if e else _number_of(table, columns, k, c, known)
            for k, (e, c) in enumerate(zip(empty, column, strict=True))
        ]
        return Targets(CLASSES, tuple(known), np.array(numbers), empty)
    texts = _of_one_spelling([None if absent else _text(cell) for cell, absent in zip(column, empty, strict=True)])
    names = _ordered({text for text in texts if text is not None})
    numbers = {name: number for number, name in enumerate(names)}
    return Targets(CLASSES, tuple(names), np.array([numbers.get(text, 0) for text in texts]), empty)


def _number_of(table, columns, row, cell, names):
    """The number of a class that has a name. Raises: DataError: if none has that number."""
    number = _number(cell)
    if number is None or number % 1 or not 0 <= number < len(names):
        raise DataError(
            f"{printable(table.source)}: the column {printable(columns.label[0])} has names for the classes 0 to "
            f"{len(names) - 1}. Received {cell!r} in {table.row(row)}."
        )
    return int(number)


def _several(table, columns, column):
    known = table.class_names.get(columns.label[0])
    rows = []
    for cell in column:
        if isinstance(cell, (list, tuple)):
            items = [item for item in cell if item is not None]
            if known is not None:  # -1 is no label, as in a column of classes
                items = [known[_number_of(table, columns, len(rows), item, known)] for item in items if item != -1]
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


def _bits(table, names, cells):
    labels = np.zeros((len(cells[0]), len(cells)), np.int32)
    empty = np.zeros(len(cells[0]), bool)
    for k, (name, column) in enumerate(zip(names, cells, strict=True)):
        missing = [is_missing(cell) for cell in column]
        bits = [0 if gap else as_bit(cell) for cell, gap in zip(column, missing, strict=True)]
        if None in bits:
            first = bits.index(None)
            raise DataError(
                f"{printable(table.source)}: the column {printable(name)} must hold 0 and 1 alone to be a label. "
                f"Received {column[first]!r} in {table.row(first)} and {counted(bits.count(None) - 1, 'other row')}."
            )
        labels[:, k] = bits
        empty |= missing
    return Targets(LABELS, names, labels, empty)


def _values(table, names, cells):
    values = np.zeros((len(cells[0]), len(cells)), np.float32)
    empty = np.zeros(len(cells[0]), bool)
    for k, (name, column) in enumerate(zip(names, cells, strict=True)):
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
    return Targets(VALUES, names, values, empty)


def _ordered(names):
    """Sorted; as numbers where all are whole ones, 01 before 1: the order of a set is another one in each process."""
    if names and all(re.fullmatch(r"-?\d+", name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)
