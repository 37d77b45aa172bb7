"""CSV files with a header."""

from __future__ import annotations

import csv
import io
import pathlib

from pipelines.examples import DataError
from pipelines.printable import printable
from pipelines.readers.tables.table import Table

DELIMITERS = ("\t", ",", ";")  # the first that the header has; `;` may also part the labels of a cell
LARGEST_CELL = 2**20


def read_csv(path: pathlib.Path) -> Table:
    """A CSV file in UTF-8, with commas, semicolons or tabs. Raises: DataError: naming what is wrong, and where."""
    shown = printable(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown} must be UTF-8 text: byte {error.start:,} is not. Save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{shown} cannot be read: {error.strerror}. Give the path of a CSV file.") from None
    # As files have lines: `splitlines` would end them at U+2028, a form feed and others, within a cell.
    header = next((line for line in io.StringIO(text, newline="") if line.strip()), "")
    delimiter = next((one for one in DELIMITERS if one in header), ",")
    csv.field_size_limit(LARGEST_CELL)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    cells, names = [], None
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if names is None:
                names = [cell.strip() for cell in row]
                continue
            if len(row) != len(names):
                raise DataError(
                    f"{shown}, line {rows.line_num:,}, has {len(row)} cells, the header {len(names)}: "
                    f"{', '.join(map(printable, names[:6]))}. Put a cell that has a {_NAMES[delimiter]} in it between "
                    "double quotes."
                )
            cells.append(row)
    except csv.Error as error:
        raise DataError(f"{shown}, line {rows.line_num:,}, is no CSV: {error}.") from None
    if not cells:
        raise DataError(f"{shown} has no rows below a header. Give a table with columns for images and labels.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{shown} has several columns named {', '.join(map(printable, twice))}. Rename all but one.")
    columns = {
        name: [cell.strip() or None for cell in column]
        for name, column in zip(names, zip(*cells, strict=True), strict=True)
    }
    return Table(str(path), columns, path.parent, first_row=2)


_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon"}
