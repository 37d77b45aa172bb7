"""Tables as CSV files."""

import csv
import io

from dirac_keras.files.atomic import write_text


def read_table(path):
    """Rows of a CSV file as dicts, numbers as floats (`epoch` as int); an absent file has none."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: _number(name, value) for name, value in row.items()} for row in csv.DictReader(file)]


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
