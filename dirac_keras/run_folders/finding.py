"""Where runs are below a folder."""

import os
import pathlib

from dirac_keras.errors import UserError

CONFIG = "config.json"


def find_runs(folder):
    """Folders that may hold a run: those with a `config.json`. Links are not followed, nothing in a run is looked at.

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
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return sorted(found)


def _refuse(error):
    raise UserError(f"folder: {error.filename} cannot be read: {error.strerror or error}.") from error
