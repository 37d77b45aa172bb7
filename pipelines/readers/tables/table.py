"""What the readers of tables return."""

from __future__ import annotations

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of a table, a list for each column.

    Args:
        source: of it all, for messages and records: the file's path, or a name.
        columns: name -> cells, all of one length: texts of a CSV, Python values of others; None is an empty cell.
        folder: what paths of images are relative to.
        first_row: number of the first row in messages: 2 in a CSV, whose header is line 1.
        class_names: column -> names of its classes, where its cells are numbers with names.
        part: of each row "train", "validation" or "test", where the source says it elsewhere than in a column.
    """

    source: str
    columns: dict[str, list]
    folder: pathlib.Path
    first_row: int = 1
    class_names: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    part: list[str] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def row(self, index: int) -> str:
        """What a row is called in a message."""
        return f"row {index + self.first_row:,}"
