"""Files that are written whole or not at all."""

import contextlib
import os
import pathlib
import secrets

from dirac_keras.errors import UserError
from dirac_keras.files.leftovers import ASIDE, TEMPORARY_PREFIX, owner, remove, remove_leftovers
from dirac_keras.files.manifest import list_folder, list_written
from dirac_keras.files.places import check_place


def write_text(path, text):
    """Write a text file, UTF-8, whole or not at all.

    Args:
        path: of the file; one that is there is replaced. Folders above it are made.
        text: str.

    Raises: ValueError: if it cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`; what was written there takes the place of `path` at the end.

    Works for a file and for a folder. The data reach the disk before the name does, so a power cut leaves the
    old or the new. If the body raises, the temporary file is removed and `path` stays as it was. A file takes
    another's place in one step; a folder's old content is moved aside first, so for an instant there is none. What a
    killed process left of an earlier try is removed, and what is written is listed in the folder's `Manifest`, if
    there is one.

    Args:
        path: of the file or folder. Folders above it are made. The temporary name has the same suffix.

    Raises: ValueError: if it cannot be written, with the system's reason.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{owner()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        yield temporary
        _share(temporary)
        sync(temporary)
        list_folder(path, temporary) if temporary.is_dir() else list_written(path)
        _take_place(temporary, path)
        sync_entry(path.parent)
    except OSError as error:
        raise UserError(f"path: {path} cannot be written: {error.strerror or error}.") from error
    finally:
        remove(temporary)


def refuse_existing(path, overwrite):
    """Raise ValueError if `path` exists and `overwrite` is false, or if nothing can be written there."""
    check_place(path)
    if not overwrite and os.path.lexists(path):
        raise UserError(f"path: {path} exists; give another `path`, or `overwrite=True` to replace it.")


def _share(path):
    """Let others read what a library or a temporary folder has kept for its owner, as far as the umask does."""
    umask = os.umask(0o077)  # Python reads it by setting it; what another thread makes meanwhile stays its owner's
    os.umask(umask)
    for one in (path, *(path.rglob("*") if path.is_dir() else ())):
        if not one.is_symlink():
            mode = one.stat().st_mode
            usual = mode | ((0o777 if one.is_dir() else 0o666) & ~umask)
            if usual != mode:
                one.chmod(usual)


def sync(path):
    """Bring a file, or all files of a folder, to the disk."""
    if path.is_dir():
        for child in path.iterdir():
            sync(child)
    sync_entry(path)


def sync_entry(path):
    """Bring a file, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():  # Windows has no handle on a folder
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_place(temporary, path):
    if not (temporary.is_dir() and os.path.lexists(path)):
        os.replace(temporary, path)
        return
    # No system call that Python offers swaps folders, so the old one steps aside and comes back on failure.
    aside = path.with_name(f"{ASIDE}{secrets.token_hex(4)}-{owner()}-{path.name}")
    os.rename(path, aside)
    try:
        os.rename(temporary, path)
    except BaseException:
        os.rename(aside, path)
        raise
    remove(aside)
