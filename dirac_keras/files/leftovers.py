"""What a process that was killed in the middle of a write left behind: told from what a living one writes, and removed.

A temporary name has its writer in it, `.tmp-1a2b3c4d-4711.5e6f7a8b-served`: the process, and a digest of the machine on
which that number counts. Names of earlier versions have no writer; such a file is a leftover once it is a day old.
"""

import contextlib
import functools
import hashlib
import os
import re
import shutil
import socket
import time

TEMPORARY_PREFIX = ".tmp-"
ASIDE = ".old-"  # a folder whose place another takes
_NAME = re.compile(r"\.(tmp|old)-[0-9a-f]{8}-(?:(\d+)\.([0-9a-f]{8})-)?(.+)", re.DOTALL)
_OLD_SECONDS = 24 * 3600


def owner():
    """This process, as a temporary name has it."""
    return f"{os.getpid()}.{_machine()}"


def is_temporary(name):
    """Whether a file or folder has the name of one that is being written."""
    return _NAME.fullmatch(name) is not None


def remove_leftovers(folder, name=None, unsigned=False):
    """Remove what killed processes left of writing into a folder, and bring back an old folder that lost its place.

    Args:
        folder: `pathlib.Path`.
        name: of the one file or folder whose leftovers are meant; None: all.
        unsigned: whether those without a writer are leftovers, however old: no other process writes here.
    """
    for entry in _entries(folder):
        match = _NAME.fullmatch(entry.name)
        if match is None or name not in (None, match[4]) or not _is_abandoned(entry, match, unsigned):
            continue
        path = folder / match[4]
        if match[1] == "old" and not os.path.lexists(path):  # killed between the two renames
            with contextlib.suppress(OSError):
                os.rename(entry.path, path)
        else:
            remove(folder / entry.name)


def abandoned(path, prefix):
    """Whether a killed process left something of a path, `TEMPORARY_PREFIX` or `ASIDE`, in its folder."""
    for entry in _entries(path.parent):
        match = _NAME.fullmatch(entry.name)
        if match and match[4] == path.name and f".{match[1]}-" == prefix and _is_abandoned(entry, match, False):
            return True
    return False


def remove(path):
    """Delete a file or a folder if it is there and can be deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # not there, or its folder is none
            path.unlink()


def _is_abandoned(entry, match, unsigned):
    if match[2] is None:
        if unsigned:
            return True
        with contextlib.suppress(OSError):
            return time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD_SECONDS
        return False
    return match[3] == _machine() and not _runs(int(match[2]))


def _runs(process):
    if os.name == "nt":  # where signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no number of a process
        pass
    return True


@functools.cache
def _machine():
    """Digest of where a process number counts: the host, and on Linux the container."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _entries(folder):
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
