"""Cells that hold lists: of labels, of a 0 or 1 for each label, or of values."""

from __future__ import annotations

import ast
import json

from pipelines.examples import DataError
from pipelines.printable import printable
from pipelines.readers.tables.columns import as_bit


def as_lists(column: list) -> list:
    """A column whose cells are texts of lists, `['cat', 'dog']` as pandas writes them or JSON, as lists; else itself.

    Where one cell is no such text, all stay as they are: a name may stand in brackets.
    """
    texts = [cell for cell in column if cell is not None]
    if not texts or not all(isinstance(cell, str) and cell.startswith("[") and cell.endswith("]") for cell in texts):
        return column
    lists = [None if cell is None else _parsed(cell) for cell in column]
    return (
        column if any(cell is not None and found is None for cell, found in zip(column, lists, strict=True)) else lists
    )


def _parsed(text):
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(found, list) and not any(isinstance(item, (list, dict, tuple, set)) for item in found):
            return found
    return None


def columns_of(table, name: str, column: list) -> list[list] | None:
    """The columns that a column of vectors stands for: 0 and 1 for each label, or values; None for other columns.

    Lists of one length that hold 0 and 1 alone are a 0 or 1 for each label: as numbers of labels, each image would have
    the same ones. Lists of numbers of which some have a fraction are values. Missing cells are missing in every column.

    Raises: DataError: if values have lists of different lengths.
    """
    lists = [cell for cell in column if isinstance(cell, (list, tuple))]
    items = [item for cell in lists for item in cell]
    if not items or any(cell is not None and not isinstance(cell, (list, tuple)) for cell in column):
        return None
    lengths = {len(cell) for cell in lists}
    is_bits = len(lengths) == 1 and max(lengths) > 1 and all(as_bit(item) is not None for item in items)
    is_values = all(isinstance(item, (int, float)) for item in items) and any(item % 1 for item in items)
    if is_values and len(lengths) > 1:
        first = next(k for k, cell in enumerate(column) if cell is not None and len(cell) != len(lists[0]))
        raise DataError(
            f"{printable(table.source)}: the column {printable(name)} must hold as many values in each row. Received "
            f"{len(lists[0])} and, in {table.row(first)}, {len(column[first])}."
        )
    if not (is_bits or is_values):
        return None
    return [[None if cell is None else cell[k] for cell in column] for k in range(lengths.pop())]
