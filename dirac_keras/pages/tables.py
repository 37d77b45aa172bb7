"""Tables of a page: cells are text, numbers stand at the right, a click on a heading sorts."""

import math
import re
from dataclasses import dataclass
from typing import Any

from dirac_keras.pages.text import escape, running

# A number as people write it, with thousands parted by commas, and at most a unit of one word behind it.
_NUMBER = re.compile(r"([-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(?:%|[^\W\d]{1,3})?")
_NO_NUMBER = ("", "-", "\u2013", "n/a", "nan")  # in a column of numbers
LONG = 18  # letters, from which a cell of text has a least width: else a narrow window gives a name a line each word
_INFINITE = {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf, "infinite": math.inf}


@dataclass(frozen=True)
class Cell:
    """A cell that says more than its text.

    Attributes:
        text: what is shown; anything that has a text.
        level: `"good"`, `"fair"` or `"bad"` marks the cell, by colour and in words for who does not see it; "" marks
            nothing.
        sort: number that the column is sorted by; None takes that of the text.
    """

    text: Any
    level: str = ""
    sort: float | None = None


def table(columns, rows, sortable=True, caption=""):
    """HTML of a table. See `Page.table`."""
    columns = [str(column) for column in columns]
    cells = [_row(row, columns) for row in rows]
    is_number = [_is_numeric([row[place] for row in cells]) for place in range(len(columns))]
    classes = ' class="sortable"' if sortable and len(cells) > 1 else ""
    kinds = [' class="number"' if numeric else "" for numeric in is_number]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(columns, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(_cell(*one) for one in zip(row, is_number, strict=True)) + "</tr>\n" for row in cells
    )
    title = f"<caption>{running(caption)}</caption>" if caption else ""
    label = escape(caption or "table")  # what scrolls must have the focus of the keyboard, and a name then
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table{classes}>{title}'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
    )


def number_of(text):
    """The number that a text is, its unit left out; None if it is none."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return float(text)
    text = str(text).strip()
    if text.lower() in _INFINITE:
        return _INFINITE[text.lower()]
    match = _NUMBER.fullmatch(text)
    if match is None or not any(letter.isdigit() for letter in match[1]):
        return None
    return float(match[1].replace(",", "").replace("\u2212", "-"))


def _row(row, columns):
    values = [row.get(column, "") for column in columns] if isinstance(row, dict) else list(row)
    if len(values) != len(columns):
        raise ValueError(f"a row has {len(values)} cells, the table {len(columns)} columns")
    return [value if isinstance(value, Cell) else Cell("" if value is None else value) for value in values]


def _is_numeric(cells):
    told = [cell for cell in cells if str(cell.text).strip().lower() not in _NO_NUMBER]
    return bool(told) and all(number_of(cell.text) is not None for cell in told)


def _cell(cell, is_number):
    width = "number" if is_number else "long" if len(str(cell.text)) > LONG else ""
    classes = " ".join(filter(None, (width, cell.level)))
    sort = cell.sort if cell.sort is not None else number_of(cell.text) if is_number else None
    told = f' data-sort="{sort!r}"' if sort is not None and not math.isnan(sort) else ""
    mark = f'<span class="unseen"> ({escape(cell.level)})</span>' if cell.level else ""
    kind = f' class="{classes}"' if classes else ""
    text = f"{cell.text:,}" if type(cell.text) is int else cell.text
    return f"<td{kind}{told}>{running(text)}{mark}</td>"
