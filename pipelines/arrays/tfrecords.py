"""TFRecord files, read with their checksums: CRC-32C, turned and shifted."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

from pipelines.examples import DataError
from pipelines.framing import FOOTER, HEADER, TRUNCATED, WRONG_CHECKSUM

MASK = 0xA282EAD8  # tensorflow/core/lib/hash/crc32c.h: a checksum of bytes that hold a checksum is a poor one


class RecordFault(ValueError):
    """A record that cannot be read; its text says why, a sentence."""


def checksum(data) -> int:
    """The masked CRC-32C of bytes, as it stands in TFRecord files."""
    crc = _crc32c()(data)
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def whole_records(path: str | os.PathLike) -> Iterator[bytes]:
    """The data of each record of a file. Raises: RecordFault: at one that cannot be read; OSError."""
    with open(path, "rb") as file:
        while head := file.read(HEADER):
            yield _data_behind(head, file)


def record_at(path, start: int) -> bytes:
    """The data of the record that begins at a byte of a file. Raises: RecordFault: if it cannot be read; OSError."""
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        return _data_behind(file.read(HEADER), file)


def fault_at(path: str | os.PathLike, start: int, length: int) -> str | None:
    """What is wrong with the record at a byte of a file, a sentence; None if it is whole. `length` is not looked at."""
    try:
        record_at(path, start)
    except RecordFault as fault:
        return str(fault)
    return None


def _data_behind(head, file):
    if len(head) < HEADER:
        raise RecordFault(TRUNCATED)
    if checksum(head[:8]) != int.from_bytes(head[8:], "little"):
        raise RecordFault(WRONG_CHECKSUM)
    length = int.from_bytes(head[:8], "little")
    rest = file.read(length + FOOTER)
    if len(rest) < length + FOOTER:
        raise RecordFault(TRUNCATED)
    data = rest[:length]
    if checksum(data) != int.from_bytes(rest[length:], "little"):
        raise RecordFault(WRONG_CHECKSUM)
    return data


@functools.cache
def _crc32c():
    try:
        import google_crc32c
    except ImportError as error:
        raise DataError(
            "Without TensorFlow, the checksums of TFRecord files are computed with google-crc32c, which is not "
            "installed: pip install google-crc32c"
        ) from error
    return google_crc32c.value
