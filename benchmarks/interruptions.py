"""What the campaigns of interruptions share: a disk that can be filled, and the table of how the cases ended."""

import contextlib
import subprocess

from rich.table import Table


@contextlib.contextmanager
def small_disk(folder, wanted=True):
    """A file system of 3 MB in memory on a new folder, for a `with` statement; None if unwanted or not allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if wanted:
        folder.mkdir()
    if not wanted or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def table_of_cases(title, rows, good):
    """A table of how many cases of each kind were tried and ended well.

    Args:
        rows: list of dicts with `case` and `result`.
        good: the result of a case that ended well, the last column's heading.
    """
    table = Table(title=title, title_justify="left")
    for heading in ("case", "tried", good):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for name in dict.fromkeys(row["case"] for row in rows):
        results = [row["result"] for row in rows if row["case"] == name]
        table.add_row(name, str(len(results)), str(results.count(good)))
    return table
