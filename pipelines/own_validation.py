"""Whether data say themselves which of their images are for validation, before any image is read."""

from __future__ import annotations

import pathlib

from pipelines.readers import layout
from pipelines.readers.tables import rows
from pipelines.readers.tables.columns import find_columns
from pipelines.readers.tables.reading import PREFIXES, open_table

FOLDER_PREFIX = "folder:"


def has_own_validation(name: str, columns=None, download: bool = False) -> bool:
    """Whether `load_splits` finds a validation part in the data, and would refuse to hold out another.

    Args:
        name, columns, download: as in `load_splits`. Of a folder the names of its folders are looked at, of a table the
            column of the parts; named data sets have none.

    Raises: DataError: if the folder or table cannot be read.
    """
    if name.startswith(FOLDER_PREFIX):
        return layout.has_validation(pathlib.Path(name.removeprefix(FOLDER_PREFIX)).expanduser())
    if not name.startswith(PREFIXES) or not name.partition(":")[2]:
        return False
    table = open_table(name, download)
    return rows.has_validation(table, find_columns(table, columns))
