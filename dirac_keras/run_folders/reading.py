"""One run as a row: what was trained, how far it is, what it reached."""

import math
import os
import pathlib
import re

import msgspec

from dirac_keras.errors import UserError
from dirac_keras.files.lock import is_held
from dirac_keras.files.records import convert_record, read_record
from dirac_keras.files.tables import read_table
from dirac_keras.run_folders.finding import CONFIG, read_config

ENDED, RUNNING, INTERRUPTED, DIVERGED = STATUSES = ("ended", "running", "interrupted", "diverged")
MODEL, SUMMARY, METRICS, DIVERGENCE, CHECKPOINTS = (
    "model.keras", "summary.json", "metrics.csv", "diverged.txt", "checkpoints",
)  # fmt: skip
# Fields of a configuration that a row has as they are; a run of an earlier version may lack some.
FIELDS = ("data", "family", "layout", "depth", "width", "units", "recipe", "optimizer", "schedule", "augmentation")
FIELDS += ("batch_size", "learning_rate", "seed", "parameterization", "skips", "start")
# The types that lists, orders and tables count on. A later version may write others: its runs are left out, and said.
_NUMBERS = dict.fromkeys(("width", "learning_rate"), float | None)
_WHOLE = dict.fromkeys(("depth", "units", "batch_size", "seed"), int | None)
_TEXTS = dict.fromkeys(
    ("layout", "optimizer", "schedule", "augmentation", "parameterization", "start", "started", "run"), str | None
)
Config = msgspec.defstruct(
    "Config",
    [
        *((name, str) for name in ("data", "family", "recipe")),
        ("epochs", int),
        *((name, kind, None) for name, kind in (_NUMBERS | _WHOLE | _TEXTS | {"skips": bool | None}).items()),
    ],
    kw_only=True,
)
METRICS_OF_TASKS = ("accuracy", "f1_macro", "mae")  # of classes, labels, values; the first that a run has


def read_run(path, is_ours=False):
    """A run as a dict, or None if the folder holds none.

    | key | value |
    |---|---|
    | `path`, `status` | as text; one of `STATUSES` |
    | fields of the configuration | as `config.json` has them |
    | `epochs`, `epochs_done` | asked for, and in `metrics.csv` |
    | `metric`, `test`, `validation` | name of the task's metric, at the end on the test images, in the last epoch |
    | `seconds`, `parameters`, `started`, `bytes` | of the training; weights; ISO date; of all files in the folder |

    What is not known is None.

    Args:
        path: of a folder with a `config.json`.
        is_ours: bool, whether this process holds the folder's lock.

    Raises: UserError: if a file of the run is damaged, is no file, or has fields of types that are not known.
    """
    path = pathlib.Path(path)
    record = read_config(path)
    if record is None:
        return None
    convert_record(record, Config, f"path: {path / CONFIG}", "the record of a run of this version", "")
    for name in (SUMMARY, METRICS, DIVERGENCE):
        if os.path.lexists(path / name) and not (path / name).is_file():
            raise UserError(f"path: {path / name} is no file, as a run writes it.")
    summary = read_record(path / SUMMARY, dict, "the figures of a run", "") if (path / SUMMARY).exists() else {}
    rows = read_table(path / METRICS, "epoch")
    metric = next((name for name in METRICS_OF_TASKS if f"test_{name}" in summary or any(name in row for row in rows)),
                  METRICS_OF_TASKS[0])  # fmt: skip
    seconds = [row["seconds"] for row in rows if _number(row.get("seconds")) is not None]
    return {
        "path": str(path),
        "status": _status(path, record, is_ours),
        **{name: record.get(name) for name in FIELDS},
        "epochs": record["epochs"],
        "epochs_done": len(rows) or _number(summary.get("epochs")) or 0,
        "metric": metric,
        "test": _number(summary.get(f"test_{metric}")),
        "validation": next((_number(one[key]) for one in reversed(rows) if (key := f"val_{metric}") in one), None),
        "seconds": sum(seconds) if seconds else None,
        "parameters": _number(summary.get("parameters")),
        "started": record.get("started"),
        "bytes": size_of(path),
    }


def size_of(path):
    """Bytes of all files in a run's folder, without those of runs in it; links are not followed."""
    total = 0
    for where, folders, names in os.walk(path):
        folders[:] = [name for name in folders if read_config(os.path.join(where, name)) is None]
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except OSError:  # it has just gone
                continue
    return total


def _status(path, record, is_ours):
    if not is_ours and is_held(path):
        return RUNNING
    if (path / SUMMARY).is_file() and ((path / MODEL).is_file() or not (path / CHECKPOINTS).is_dir()):
        return ENDED  # its figures may be kept without its model
    return DIVERGED if _has_diverged(path, record.get("run")) else INTERRUPTED


def _has_diverged(path, run):
    """Whether `diverged.txt` says so of this run; of a run of 0.1.0 or before, whether it is there."""
    try:
        text = (path / DIVERGENCE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    found = re.search(r"^run: (\w+)$", text, re.MULTILINE)
    return run is None or (found is not None and found[1] == run)


def _number(value):
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


class Runs(list):
    """Rows of runs, as `read_run` gives them. A notebook's cell that ends with them shows a line."""

    def __repr__(self):
        counts = {status: sum(row["status"] == status for row in self) for status in STATUSES}
        told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        return f"<{len(self):,} run{'' if len(self) == 1 else 's'}{': ' if told else ''}{told}>"


def read_runs(paths):
    """`(rows, problems)` of folders: `Runs` of dicts as `read_run` gives, and a line for each folder that has none.

    Args:
        paths: of folders, as `find_runs(FOLDER)` finds them.

    Raises: UserError: if it is one path.
    """
    if isinstance(paths, (str, os.PathLike)):
        raise UserError(
            f"paths must be a list of folders. Received paths={str(paths)!r}: give find_runs({str(paths)!r})."
        )
    rows, problems = Runs(), []
    for path in map(pathlib.Path, paths):
        try:
            row = read_run(path)
        except UserError as error:
            problems.append(str(error).removeprefix("path: ").strip())
            continue
        if row is None:
            problems.append(f"{path / CONFIG} is not the record of a run.")
        else:
            rows.append(row)
    return rows, problems
