"""One process to a run's folder."""

import contextlib
import os
import pathlib
import socket

import filelock

from dirac_keras.errors import UserError

LOCK_FILE = ".lock"
HOLDER_FILE = ".lock-holder"  # beside it: Windows lets no other process read a locked file, filelock 3 empties it
LOCK_FILES = (LOCK_FILE, HOLDER_FILE)
_PATIENCE_SECONDS = 0.2  # for a holder that is just leaving


class FolderInUse(UserError):
    """Another process holds the folder."""


@contextlib.contextmanager
def locked(folder):
    """Hold a folder for this process alone; for a `with` statement.

    The system drops the lock when the process ends, however it ends: what `kill -9` leaves is files without effect.
    Reading needs no lock. Folders that were made for the lock and stayed empty are removed again.

    Args:
        folder: `pathlib.Path`, made if absent.

    Raises: FolderInUse: if another process holds it (named if it runs). UserError: if the folder cannot be written.
    """
    folder = pathlib.Path(folder)
    try:
        made = [path for path in (folder, *folder.parents) if not path.is_dir()]
        folder.mkdir(parents=True, exist_ok=True)
        lock = _acquire(folder)
        _name_holder(folder, lock)
    except OSError as error:
        raise UserError(f"workdir {folder} cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        _release(folder, lock)
        with contextlib.suppress(OSError):  # not empty: the run is in it
            for path in made:
                path.rmdir()


def is_held(folder):
    """Whether a process holds a folder; files that one left behind hold nothing.

    Args:
        folder: `pathlib.Path`.
    """
    path = folder / LOCK_FILE
    if not path.exists():
        return False
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except OSError:  # of another user, who alone could hold it: what is known is the file
        return False
    lock.release()
    return False


def _acquire(folder):
    lock = filelock.FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=_PATIENCE_SECONDS)
    except filelock.Timeout:
        raise FolderInUse(
            f"workdir {folder} is in use: {_holder(folder)} trains there. Wait for it, stop it, or give another "
            "`workdir`."
        ) from None
    return lock


def _holder(folder):
    with contextlib.suppress(OSError):
        return (folder / HOLDER_FILE).read_text(encoding="utf-8", errors="replace") or "another process"
    return "another process"


def _name_holder(folder, lock):
    try:
        (folder / HOLDER_FILE).write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    except OSError:
        _release(folder, lock)
        raise


def _release(folder, lock):
    # The files go while the lock is held, so that none of the next holder's are hit. filelock lets nobody lock a file
    # that is gone. Windows deletes no open file: there filelock itself does, as it releases.
    for name in reversed(LOCK_FILES):
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    lock.release()
