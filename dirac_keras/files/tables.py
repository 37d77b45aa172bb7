"""Tables as CSV files."""

import csv
import io

from dirac_keras.errors import UserError
from dirac_keras.files.atomic import write_text


def read_table(path, counted=None):
    """Rows of a CSV file as dicts, numbers as floats (`epoch` as int); an absent file has none.

    What `write_table` left empty, a field that other rows have, is absent.

    Args:
        path: `pathlib.Path`.
        counted: name of a column that every row has as a number, such as "epoch"; None: no matter.

    Raises: ValueError: if it is no such table, with the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"path: {path} cannot be read: {error}.") from error
    return parse_table(text, path, counted)


def parse_table(text, path, counted=None):
    """`read_table` of the text of a file at `path`."""
    rows = []
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"{len(reader.fieldnames)} columns are named, another number is in the row")
            row = {name: _number(name, value) for name, value in row.items() if value != ""}
            if counted is not None and not isinstance(row.get(counted), (int, float)):
                raise ValueError(f"no number in column {counted}")
            rows.append(row)
    except (ValueError, csv.Error) as error:
        raise UserError(f"path: {path} is damaged, or no table of a run: line {reader.line_num}: {error}.") from None
    return rows


def write_table(path, rows):
    """Write rows of equal or different fields as one CSV file, whole or not at all."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _number(name, value):
    if name == "epoch":
        return int(value)
    try:
        return float(value)
    except ValueError:
        return value
