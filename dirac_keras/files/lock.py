"""One process to a run's folder."""

import contextlib
import errno
import os
import pathlib
import socket

from dirac_keras.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: there two runs on one folder are not kept apart
    fcntl = None

LOCK_FILE = ".lock"


@contextlib.contextmanager
def locked(folder):
    """Hold a folder for this process alone; for a `with` statement.

    The system drops the lock when the process ends, however it ends: what `kill -9` leaves is a file without effect.
    Reading needs no lock. Folders that were made for the lock and stayed empty are removed again.

    Args:
        folder: `pathlib.Path`, made if absent.

    Raises: ValueError: if another process holds it (named if it runs), or the folder cannot be written.
    """
    folder = pathlib.Path(folder)
    try:
        made = [path for path in (folder, *folder.parents) if not path.is_dir()]
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(folder / LOCK_FILE)
    except OSError as error:
        raise UserError(f"workdir {folder} cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK_FILE).unlink()
        os.close(descriptor)
        with contextlib.suppress(OSError):  # not empty: the run is in it
            for path in made:
                path.rmdir()


def _acquire(path):
    """A descriptor of the lock file, locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, path)
            if _is_still_there(descriptor, path):
                os.truncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it between our opening and our locking


def _lock(descriptor, path):
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        holder = os.read(descriptor, 200).decode(errors="replace") or "another process"
        raise UserError(
            f"workdir {path.parent} is in use: {holder} trains there. Wait for it, stop it, or give another --workdir."
        ) from None


def _is_still_there(descriptor, path):
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
