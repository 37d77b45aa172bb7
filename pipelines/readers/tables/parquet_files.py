"""Parquet files, by pyarrow."""

from __future__ import annotations

import pathlib

from pipelines.examples import DataError
from pipelines.printable import printable
from pipelines.readers.tables.table import Table
from pipelines.scaling import CACHE_LIMIT_BYTES


def read_parquet(path: pathlib.Path) -> Table:
    """A Parquet file, or a folder of some with the same columns. Raises: DataError: naming what is wrong."""
    shown = printable(path)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(
            "parquet:FILE is read by pyarrow, which is not installed: pip install 'dirac_keras[parquet]', or give a "
            "CSV file."
        ) from None
    if not path.exists():
        raise DataError(f"{shown} does not exist. Give the path of a Parquet file, or of a folder of some.")
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{shown} is no Parquet file, or damaged: {_first_line(error)}.") from None
    if table.nbytes > CACHE_LIMIT_BYTES:
        raise DataError(
            f"{shown} takes {table.nbytes / 2**30:.1f} GiB in memory, more than {CACHE_LIMIT_BYTES / 2**30:g}. Write "
            "the images to files, with their paths in the table."
        )
    if not table.num_rows:
        raise DataError(f"{shown} has no rows.")
    return Table(str(path), table.to_pydict(), path if path.is_dir() else path.parent)


def _first_line(error):
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
