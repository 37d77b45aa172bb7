"""Several files that belong together, replaced whole or not at all."""

import contextlib
import os
import pathlib
import secrets
import shutil

from dirac_keras.errors import UserError
from dirac_keras.files.atomic import sync, sync_entry
from dirac_keras.files.leftovers import ASIDE, TEMPORARY_PREFIX, abandoned, owner, remove, remove_leftovers
from dirac_keras.files.manifest import list_written


def replace_together(files):
    """Copy files to their places: all of them, or none.

    All are written beside their places first, which is what takes time and what a full disk stops. Then the old ones
    step aside and the new ones take their places, the main file's name going first and coming last: who finds it finds
    the files that belong to it. If anything fails, the old ones come back. What a kill between the renames leaves is
    mended by `bring_back_together`, which each call begins with.

    Args:
        files: dict, path -> path of the file to copy. The last is the main one. All lie in one folder.

    Raises: ValueError: if one cannot be written, with the system's reason.
    """
    files = {pathlib.Path(path): source for path, source in files.items()}
    try:
        bring_back_together(files)
        _replace(files)
    except OSError as error:
        raise UserError(
            f"path: {error.filename or list(files)[-1]} cannot be written: {error.strerror or error}."
        ) from (error)


def bring_back_together(paths):
    """Mend what a process that was killed between the renames of `replace_together` left: the old files come back.

    Args:
        paths: of the files, the main one last.
    """
    paths = [pathlib.Path(path) for path in paths]
    main = paths[-1]
    if not os.path.lexists(main) and abandoned(main, ASIDE):
        for path in paths[:-1]:
            if abandoned(path, ASIDE):  # what stands in its place is of the new files, whose main one never came
                remove(path)
    for path in paths:
        remove_leftovers(path.parent, path.name)


def _replace(files):
    mark = f"{secrets.token_hex(4)}-{owner()}"
    new = {path: path.with_name(f"{TEMPORARY_PREFIX}{mark}-{path.name}") for path in files}
    old = {path: path.with_name(f"{ASIDE}{mark}-{path.name}") for path in files}
    order = [*files][::-1]  # the main file first
    try:
        for path, source in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, new[path])
            sync(new[path])
        for path in files:
            list_written(path)
        try:
            for path in order:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(path, old[path])
            for path in files:
                os.rename(new[path], path)
        except BaseException:
            for path in order:  # the main file's name goes first here too
                if not os.path.lexists(new[path]):
                    remove(path)
            for path in files:
                if os.path.lexists(old[path]):
                    os.rename(old[path], path)
            raise
        sync_entry(order[0].parent)
    finally:
        for path in files:
            remove(new[path])
    for path in files:
        remove(old[path])
