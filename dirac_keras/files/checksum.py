"""A zip file that vouches for itself: the SHA-256 of all that comes before it, as the file's last bytes."""

import hashlib
import os
import zipfile

_PREFIX = b"sha256:"
_DIGITS = 64
_LENGTH = len(_PREFIX) + _DIGITS
_CHUNK = 1 << 20


def append_checksum(path):
    """Write the checksum of a zip file into its comment, which is its end; readers of zip files pass over it.

    One file, so that no crash can part a file from its checksum.

    Args:
        path: of the file; changed in place, so give a temporary one.
    """
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = _PREFIX + b"0" * _DIGITS
    with open(path, "r+b") as file:
        digest = _digest(file)
        file.seek(-_DIGITS, os.SEEK_END)
        file.write(digest)


def has_valid_checksum(path):
    """Whether the checksum at the end of a file is right; None if there is none.

    Raises: OSError: if the file cannot be read.
    """
    with open(path, "rb") as file:
        if file.seek(0, os.SEEK_END) < _LENGTH:
            return None
        file.seek(-_LENGTH, os.SEEK_END)
        end = file.read()
        if not end.startswith(_PREFIX):
            return None
        return _digest(file) == end[len(_PREFIX) :]


def file_digest(path):
    """SHA-256 of a whole file, as hexadecimal digits. Raises: OSError: if it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()


def _digest(file):
    """SHA-256 of all but the checksum, as ASCII digits."""
    left = file.seek(0, os.SEEK_END) - _LENGTH
    file.seek(0)
    digest = hashlib.sha256()
    while left > 0:
        part = file.read(min(_CHUNK, left))
        digest.update(part)
        left -= len(part)
    return digest.hexdigest().encode()
