"""What a command is pointed at, looked at before the work: a place to write to, files to read."""

import os
import pathlib

from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted

MOST = 10  # paths named in a message


def check_place(path, argument="path"):
    """Raise UserError if nothing can be written to a path, for the folder that it would lie in. Nothing is made.

    Args:
        path: of a file or folder. Folders above it may be absent, as they are made.
        argument: name of the argument that gave it.
    """
    folder = next(one for one in pathlib.Path(path).absolute().parents if os.path.lexists(one))
    if not folder.is_dir():
        raise UserError(f"{argument}: {path} cannot be written: {folder} is no folder. Give another place.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{argument}: {path} cannot be written: {folder} may not be written to. Give another place.")


def check_present(paths, argument, way_out="Mend the paths."):
    """Raise UserError that names all paths at which there is nothing.

    Args:
        paths: iterable of paths of files or folders.
        argument: name of the argument that gave them.
        way_out: sentence.
    """
    absent = [str(path) for path in paths if not os.path.exists(path)]
    if absent:
        verb = "does" if len(absent) == 1 else "do"
        more = f" and {counted(len(absent) - MOST, 'other')}" if len(absent) > MOST else ""
        raise UserError(f"{argument}: {', '.join(absent[:MOST])}{more} {verb} not exist. {way_out}")


def unreadable_files(paths):
    """`{path: reason}` of those that are no files that can be opened; the reason is the system's.

    Args:
        paths: iterable of str.
    """
    found = {}
    for path in paths:
        try:
            with open(path, "rb") as file:
                file.read(1)
        except OSError as error:
            found[path] = error.strerror or str(error)
        except ValueError as error:  # a null byte
            found[path] = str(error)
    return found
