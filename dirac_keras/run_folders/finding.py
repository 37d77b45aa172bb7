"""Where runs are below a folder."""

import json
import os
import pathlib

from dirac_keras.errors import UserError

CONFIG = "config.json"
REQUIRED = ("data", "family", "epochs", "recipe", "versions")  # without them it is no record of a run
VERSION_OF = "keras"  # that every run notes; the record of another program has versions of something else


def find_runs(folder):
    """Folders that may hold a run: those with a `config.json`. Links are not followed.

    In a run nothing is looked for. A `config.json` of something else, as of a hub's model, hides no runs below it.

    Args:
        folder: path; it may be a run itself.

    Returns: sorted list of `pathlib.Path`.
    Raises: UserError: if it is no folder, or cannot be read.
    """
    return survey(folder)[0]


def survey(folder):
    """`find_runs`, and the links below the folder, to folders with a `config.json`, that were not followed.

    Returns: two sorted lists of `pathlib.Path`.
    Raises: UserError: as `find_runs`.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"folder: {folder} {what}. Give the folder of a run, or one with runs in it.")
    found, links = [], []
    for where, folders, names in os.walk(folder, onerror=_refuse):
        if CONFIG in names:
            found.append(pathlib.Path(where))
            if read_config(found[-1]) is not None:
                folders.clear()
        here = [pathlib.Path(where, name) for name in folders if os.path.islink(os.path.join(where, name))]
        links += [link for link in here if (link / CONFIG).is_file()]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return sorted(found), sorted(links)


def read_config(folder):
    """The record that a run begins with, a dict; None if the folder's `config.json` is no such record."""
    path = folder / CONFIG
    if not path.is_file():  # nothing ever writes to a pipe that is read
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not all(name in record for name in REQUIRED):
        return None
    versions = record["versions"]
    return record if isinstance(versions, dict) and VERSION_OF in versions else None


def _refuse(error):
    raise UserError(f"folder: {error.filename} cannot be read: {error.strerror or error}.") from error
