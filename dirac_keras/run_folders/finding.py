"""Where runs are below a folder."""

import json
import os
import pathlib

from dirac_keras.errors import UserError

CONFIG = "config.json"
REQUIRED = ("data", "family", "epochs", "recipe", "versions")  # without them it is no record of a run


def find_runs(folder):
    """Folders that may hold a run: those with a `config.json`. Links are not followed.

    In a run nothing is looked for. A `config.json` of something else, as of a hub's model, hides no runs below it.

    Args:
        folder: path; it may be a run itself.

    Returns: sorted list of `pathlib.Path`.
    Raises: UserError: if it is no folder, or cannot be read.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"folder: {folder} {what}. Give the folder of a run, or one with runs in it.")
    found = []
    for where, folders, names in os.walk(folder, onerror=_refuse):
        if CONFIG in names:
            found.append(pathlib.Path(where))
            if read_config(found[-1]) is not None:
                folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return sorted(found)


def read_config(folder):
    """The record that a run begins with, a dict; None if the folder's `config.json` is no such record."""
    try:
        record = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and all(name in record for name in REQUIRED) else None


def _refuse(error):
    raise UserError(f"folder: {error.filename} cannot be read: {error.strerror or error}.") from error
