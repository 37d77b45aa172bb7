"""Where runs are below a folder."""

import json
import os
import pathlib

from dirac_keras.errors import UserError

CONFIG = "config.json"
REQUIRED = ("data", "family", "epochs", "recipe", "versions")  # without them it is no record of a run
OWN_FOLDERS = ("checkpoints", "tb", "saved_model")  # of a run, with many files and no runs
VERSION_OF = "keras"  # that every run notes; the record of another program has versions of something else


def find_runs(folder):
    """Folders that may hold a run: those with a `config.json`. Links are not followed.

    A run may lie in another one's folder. There a `config.json` of something else, as of an exported model, is none.
    Elsewhere it is one that hides no runs below it.

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
    found, links, runs = [], [], set()
    for where, folders, names in os.walk(folder, onerror=_refuse):
        path = pathlib.Path(where)
        is_run = CONFIG in names and read_config(path) is not None
        if is_run or (CONFIG in names and runs.isdisjoint(path.parents)):
            found.append(path)
        if is_run:
            runs.add(path)
            folders[:] = [name for name in folders if name not in OWN_FOLDERS]
        here = [pathlib.Path(where, name) for name in folders if os.path.islink(os.path.join(where, name))]
        links += [link for link in here if (link / CONFIG).is_file()]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return sorted(found), sorted(links)


def read_config(folder):
    """The record that a run begins with, a dict; None if the folder's `config.json` is no such record."""
    path = pathlib.Path(folder, CONFIG)
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
