"""CSV files with a header."""

from __future__ import annotations

import csv
import io
import os
import pathlib

from pipelines.examples import DataError
from pipelines.printable import printable
from pipelines.readers.tables.table import Table

DELIMITERS = ("\t", ",", ";")  # in this order: `;` may also part the labels of a cell
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
    delimiter = _delimiter([line for line in io.StringIO(text, newline="") if line.strip()][:2])
    csv.field_size_limit(LARGEST_CELL)
    # Spaces in front of a cell go anyway; behind one, a quotation mark would be a part of the cell.
    rows = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t"
    )
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
    if files := [name for name in names if name and os.path.isfile(path.parent / name)]:
        raise DataError(
            f"{shown} has no header: its first line names the file {printable(files[0])}. Put a line with the names of "
            "the columns above it, such as file,label."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{shown} has several columns named {', '.join(map(printable, twice))}. Rename all but one.")
    columns = {
        name: [cell.strip() or None for cell in column]
        for name, column in zip(names, zip(*cells, strict=True), strict=True)
    }
    return Table(str(path), columns, path.parent, first_row=2)


def _delimiter(lines):
    """The first that cuts the header into as many cells as the line below it; else the first that cuts the header."""
    counts = {one: [len(_cells(line, one)) for line in lines] for one in DELIMITERS}
    cutting = [one for one in DELIMITERS if counts[one] and counts[one][0] > 1]
    alike = [one for one in cutting if len(set(counts[one])) == 1]
    return next(iter(alike or cutting), ",")


def _cells(line, delimiter):
    """The cells of a line: what stands between double quotes delimits none."""
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []


_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon"}
