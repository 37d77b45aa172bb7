"""The images of TFRecord files as tensorflow-datasets writes them, found without decoding or copying them.

A record is a `tf.train.Example`, in which an image lies as one run of bytes. `index_records` finds where: from then on
any image is read on its own, in any order, as if each were a file.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipelines.examples import Ranges
from pipelines.streams import PARALLEL_CALLS

logger = logging.getLogger(__name__)

HEADER, FOOTER = 12, 4  # of a record: its length (8 bytes), checksums of the length and of the data
HEAD = 1024  # bytes read of a record at first; what precedes and follows its image is shorter
REPORT_SECONDS = 5.0
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


class RecordError(ValueError):
    """A file that is no whole TFRecord file of images; the message names it."""


@dataclasses.dataclass(frozen=True)
class Index:
    """The records of some files, in order.

    Args:
        ranges: of the encoded images.
        labels: `(m,)` int64.
        names: `(m,)` the records' `file_name`, or file and number where they have none.
    """

    ranges: Ranges
    labels: np.ndarray
    names: list[str]


def index_records(paths: list[str | os.PathLike]) -> Index:
    """Find the images of TFRecord files. Reads about a kilobyte of each record.

    Raises: RecordError: if a file is absent, cut short or holds something else.
    """
    started, found = time.perf_counter(), []
    with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
        for number, records in enumerate(pool.map(index_file, paths), start=1):
            found.append(records)
            if time.perf_counter() - started > REPORT_SECONDS:
                started = time.perf_counter()
                logger.info("indexed %d of %d files", number, len(paths))
    rows = [(file, *record) for file, records in enumerate(found) for record in records]
    files, offsets, lengths, labels, names = zip(*rows, strict=True) if rows else ([],) * 5
    ranges = Ranges(
        paths=np.asarray([os.fspath(path) for path in paths], dtype=object),
        sizes=np.asarray([os.path.getsize(path) for path in paths], np.int64),
        files=np.asarray(files, np.int64),
        offsets=np.asarray(offsets, np.int64),
        lengths=np.asarray(lengths, np.int64),
    )
    return Index(ranges, np.asarray(labels, np.int64), list(names))


def index_file(path: str | os.PathLike) -> list[tuple[int, int, int, str]]:
    """`(offset of the image, its length, label, name)` of every record of a file."""
    records = []
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if hasattr(os, "posix_fadvise"):  # the rest of a record is not wanted
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            start = 0
            while start < size:
                head = _read(file, start, HEADER + HEAD)
                length = int.from_bytes(head[:8], "little")
                end = start + HEADER + length + FOOTER
                if len(head) < HEADER or end > size:
                    raise RecordError(f"{path} has a truncated record at byte {start:,}")
                image, label, name = _example(_Record(file, start + HEADER, head[HEADER:], length))
                records.append((*image, label, name or f"{os.path.basename(path)}, record {len(records)}"))
                start = end
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}") from error
    except (IndexError, UnicodeDecodeError):
        raise RecordError(f"{path} holds something else than examples at byte {start:,}") from None
    return records


def read_ranges(
    ranges: Ranges, rows: np.ndarray, head: int | None = None, tail: int = 0
) -> Iterator[tuple[bytes, bytes]]:
    """The first `head` (None: all) and the last `tail` bytes of images, in the order of `rows`."""
    open_file, number = None, None
    try:
        for row in rows:
            if ranges.files[row] != number:
                if open_file:
                    open_file.close()
                number = ranges.files[row]
                open_file = open(ranges.paths[number], "rb", buffering=0)  # noqa: SIM115 - kept for its next images
            offset, length = int(ranges.offsets[row]), int(ranges.lengths[row])
            first = _read(open_file, offset, length if head is None else min(head, length))
            last = min(tail, length)
            yield first, _read(open_file, offset + length - last, last) if last else b""
    finally:
        if open_file:
            open_file.close()


def _read(file, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


class _Record:
    """A record of which the head has been read; other bytes are read when they are asked for."""

    def __init__(self, file, start, head, length):
        self.file, self.start, self.length = file, start, length
        self.at, self.bytes = 0, head[:length]

    def part(self, begin, end):
        if end > self.length:
            raise IndexError
        if begin < self.at or end > self.at + len(self.bytes):
            self.at, self.bytes = begin, _read(self.file, self.start + begin, max(end - begin, HEAD))
        return self.bytes[begin - self.at : end - self.at]

    def varint(self, at):
        """The number at `at`, and where the next field begins."""
        value = shift = 0
        while True:
            byte = self.part(at, at + 1)[0]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at

    def fields(self, begin, end) -> Iterator[tuple[int, int, int]]:
        """`(number, begin, end)` of the fields of a message; a number's own bytes for a varint."""
        while begin < end:
            key, at = self.varint(begin)
            kind = key & 7
            if kind == BYTES:
                length, at = self.varint(at)
                stop = at + length
            elif kind == VARINT:
                _, stop = self.varint(at)
            elif kind in (FIXED32, FIXED64):
                stop = at + (4 if kind == FIXED32 else 8)
            else:
                raise IndexError
            if stop > end:
                raise IndexError
            yield key >> 3, at, stop
            begin = stop

    def only(self, begin, end, *numbers):
        """Follow nested messages by field number; the bounds of the innermost, empty where there is none."""
        for number in numbers:
            begin, end = next(((b, e) for n, b, e in self.fields(begin, end) if n == number), (end, end))
        return begin, end


def _example(record):
    """`((offset in the file, length) of the image, label, name)` of a serialized tf.train.Example."""
    found = {}
    # Example.features (1).feature (1, a map): its entries are key (1) and value (2), a Feature.
    for _, begin, end in record.fields(*record.only(0, record.length, 1)):
        key = value = None
        for number, b, e in record.fields(begin, end):
            if number == 1:
                key = record.part(b, e).decode()
            else:
                value = (b, e)
        if key is not None and value is not None:
            found[key] = value
    if not {"image", "label"} <= set(found):
        raise IndexError
    begin, end = record.only(*found["image"], 1, 1)  # Feature.bytes_list (1).value (1)
    image = (record.start + begin, end - begin)
    name = record.part(*record.only(*found["file_name"], 1, 1)).decode() if "file_name" in found else None
    label, _ = record.varint(record.only(*found["label"], 3, 1)[0])  # Feature.int64_list (3).value (1)
    return image, label - 2**64 if label >= 2**63 else label, name
