"""Which columns of a table hold images, labels and parts: by their names, or as they are given."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping

from pipelines.examples import DataError
from pipelines.printable import printable, some_of
from pipelines.readers.tables.table import Table

NAMES = {
    "image": ("image", "images", "img", "file", "filename", "file_name", "path", "filepath", "file_path", "image_path",
              "image_file"),
    "label": ("label", "labels", "class", "classes", "category", "target", "targets", "tags"),
    "split": ("split", "set", "subset", "part", "partition"),
}  # fmt: skip
# Words of programs for a cell that says nothing: of pandas, R, SQL, spreadsheets.
MISSING = frozenset({"", "nan", "+nan", "-nan", "na", "n/a", "#n/a", "<na>", "null", "none"})
FORM = '`columns="image=NAME,label=NAME,split=NAME"`, several labels as label=NAME+NAME'


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table that are read.

    Args:
        image: of paths or of encoded images.
        label: one, or one for each label or value.
        split: of the parts' names, or None.
    """

    image: str
    label: tuple[str, ...]
    split: str | None = None

    def to_dict(self) -> dict:
        """JSON-safe; what `find_columns` takes as `given`."""
        named = {"image": self.image, "label": list(self.label)}
        return named | ({} if self.split is None else {"split": self.split})


def parse_columns(given) -> dict[str, str | list[str] | None]:
    """What a user said of the columns, as a dict of "image", "label" (a list) and "split"; some may be absent.

    Args:
        given: None, a dict, or a text as in `FORM`.
    Raises: DataError: if it is none of that.
    """
    if given is None:
        return {}
    if isinstance(given, str):
        pairs = [pair.partition("=") for pair in given.split(",") if pair.strip()]
        if any(not mark or not value.strip() for _, mark, value in pairs):
            raise DataError(f"columns must be {FORM}. Received columns={given!r}.")
        keys = [key.strip() for key, _, _ in pairs]
        if twice := [key for key in NAMES if keys.count(key) > 1]:
            form = "several labels are label=NAME+NAME" if twice[0] == "label" else "leave one of them out"
            raise DataError(f"columns names {twice[0]} twice: {form}. Received columns={given!r}.")
        given = {key.strip(): value.strip() for key, _, value in pairs}
        if "label" in given:
            given["label"] = [name.strip() for name in given["label"].split("+")]
    if not isinstance(given, Mapping) or not set(given) <= set(NAMES):
        raise DataError(f"columns must be {FORM}. Received columns={given!r}.")
    label = given.get("label")
    return dict(given) | ({} if label is None else {"label": [label] if isinstance(label, str) else list(label)})


def find_columns(table: Table, given=None) -> Columns:
    """The columns that hold what is read; those that are not given, by their names.

    Where no column is named like labels, all others are labels, one each, if they hold 0 and 1 alone; cells that are
    missing do not count.

    Raises: DataError: if they are not there, or their names leave it open.
    """
    given, names = parse_columns(given), list(table.columns)
    for name in (given.get("image"), *given.get("label", ()), given.get("split")):
        if name is not None and name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"columns names {name!r}, which {printable(table.source)} has not. Its columns: {_listed(names)}.{hint}"
            )
    image = given.get("image") or _named(table, "image", names)
    split = given.get("split") or _named(table, "split", [name for name in names if name != image], needed=False)
    rest = [name for name in names if name not in (image, split)]
    label = given.get("label") or _labels(table, rest)
    if len({image, *label, split}) < 2 + len(label):
        raise DataError(f"columns must be different ones. Received image={image}, label={label}, split={split}.")
    return Columns(image, tuple(label), split)


def _named(table, what, names, needed=True):
    found = [name for name in names if name.strip().casefold().replace(" ", "_").replace("-", "_") in NAMES[what]]
    if len(found) == 1:
        return found[0]
    if not found and not needed:
        return None
    which = "no column" if not found else f"several columns ({_listed(found)})"
    # A table in one column was cut at no delimiter, or has no labels.
    whole = " Cells are separated by commas, semicolons or tabs." if len(table.columns) == 1 else ""
    raise DataError(
        f"{printable(table.source)} has {which} named like {what}s ({', '.join(NAMES[what][:4])}, ...). Its columns: "
        f"{_listed(list(table.columns))}.{whole} Say which: {FORM}."
    )


def _labels(table, rest):
    found = _named(table, "label", rest, needed=False)
    if found is not None:
        return [found]
    if rest and all(holds_bits(table.columns[name]) for name in rest):
        return rest
    _named(table, "label", rest)  # raises


def as_bit(cell):
    """0 or 1 of a cell that says no or yes, as any program writes it: 1, 1.0, True; None for another."""
    text = str(cell).strip().casefold()
    return 1 if text in ("1", "1.0", "true") else 0 if text in ("0", "0.0", "false") else None


def holds_bits(column) -> bool:
    """Whether a column holds 0 and 1 alone, besides cells that are missing; some must be there."""
    bits = [as_bit(cell) for cell in column if not is_missing(cell)]
    return bool(bits) and None not in bits


def is_missing(cell) -> bool:
    """Whether a cell of a column of numbers says nothing: empty, NaN, or a word for it."""
    if cell is None or isinstance(cell, float):
        return cell is None or math.isnan(cell)
    return isinstance(cell, str) and cell.strip().casefold() in MISSING


def _listed(names, most=12):
    return some_of(list(map(printable, names)), most)
