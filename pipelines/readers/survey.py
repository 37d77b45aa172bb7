"""What a folder of images was found to hold, in lines for people and as a record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from pipelines.examples import Examples
from pipelines.printable import columns, cut, printable
from pipelines.readers.passed_over import PassedOver
from pipelines.readers.repeats import MOST_FILES, Repeats

MOST_CLASSES = 20  # lines of the table; of more classes, the first half as many
LONGEST_NAME = 40
WHOLE = "all images are one part"
DRAWN = "a fifth of the rows tests"  # of a table


@dataclasses.dataclass(frozen=True)
class Survey:
    """What was taken of a folder, and what was not.

    Args:
        root: the folder.
        folders: part -> name of its folder; empty if a test part was drawn from the classes.
        passed: files that are not used.
        repeats: files that are in two parts or classes.
        broken: file that cannot be decoded -> why.
        where: where the parts come from, in words; None: as `folders` says.
        what: "classes", "labels" or "values".
    """

    root: str
    folders: dict[str, str]
    passed: PassedOver
    repeats: Repeats
    broken: dict[str, str] = dataclasses.field(default_factory=dict)
    where: str | None = None
    what: str = "classes"

    @property
    def is_drawn(self) -> bool:
        """Whether the test part was drawn, as the data have none."""
        return not self.folders if self.where is None else self.where == DRAWN

    def lines(self, class_names: tuple[str, ...], parts: Mapping[str, Examples]) -> list[str]:
        """The table of images by class and part, and what was passed over."""
        where = self.where or ", ".join(f"{part}: {printable(name)}/" for part, name in self.folders.items())
        title = f"{printable(self.root)}: {len(class_names):,} {self.what}; " + (where or "a fifth of each class tests")
        counts = {part: _counts(class_names, item) for part, item in parts.items()}
        lines = [title, *_table(class_names, counts, [len(item.labels) for item in parts.values()])]
        lines += [f"passed over: {line}" for line in self.passed.lines()]
        if not self.repeats.searched:
            lines.append(f"not searched for files that repeat others: more than {MOST_FILES:,}")
        return lines

    def to_dict(self, class_names: tuple[str, ...], parts: Mapping[str, Examples]) -> dict:
        """The same as a record, JSON-safe, with all classes."""
        counts = {part: _counts(class_names, item).tolist() for part, item in parts.items()}
        return {
            "images": {part: dict(zip(class_names, column, strict=True)) for part, column in counts.items()},
            "passed_over": self.passed.to_list(),
            "repeats": self.repeats.lines(self.root),
        }


def _counts(class_names, examples: Examples) -> np.ndarray:
    return class_counts(examples.labels, len(class_names))


def class_counts(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Images of each class or label; of values, those that have one."""
    if labels.ndim == 2:
        return (labels > 0).sum(0) if labels.dtype.kind != "f" else np.full(num_classes, len(labels))
    return np.bincount(labels, minlength=num_classes)


def _table(class_names: tuple[str, ...], counts: dict[str, np.ndarray], totals: list[int]) -> list[str]:
    """Lines of a table with a column for each part, the middle of a long one left out.

    The totals are images, which the counts do not sum to where an image has several labels or none.
    """
    shown = len(class_names) if len(class_names) <= MOST_CLASSES else MOST_CLASSES // 2
    names = [cut(printable(name), LONGEST_NAME) for name in class_names[:shown]]
    rows = [(name, *(int(column[i]) for column in counts.values())) for i, name in enumerate(names)]
    rows.append(("total", *totals))
    rest = len(class_names) - shown
    width = max(len("class"), *(columns(row[0]) for row in rows))
    widths = [max(len(part), len(f"{total:,}")) for part, total in zip(counts, totals, strict=True)]

    def line(first, cells):
        return "  ".join(
            [
                f"  {first}{' ' * (width - columns(first))}",
                *(f"{cell:>{size}}" for cell, size in zip(cells, widths, strict=True)),
            ]
        )

    lines = [line("class", counts), *(line(row[0], [f"{number:,}" for number in row[1:]]) for row in rows)]
    if rest:
        ranges = [f"{column[shown:].min():,} to {column[shown:].max():,} {part}" for part, column in counts.items()]
        lines.insert(-1, f"  ... {rest:,} more, with {', '.join(ranges)} images each")
    return lines
