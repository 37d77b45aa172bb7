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

from pipelines.cores import PARALLEL_CALLS
from pipelines.engines import find_engine
from pipelines.examples import Records
from pipelines.framing import FOOTER, HEADER

logger = logging.getLogger(__name__)

HEAD = 1024  # bytes read of a record at first; what precedes and follows its image is shorter
REPORT_SECONDS = 5.0
NO_LABEL = -1
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


class RecordError(ValueError):
    """A file that is no whole TFRecord file of images; the message names it."""


@dataclasses.dataclass(frozen=True)
class Index:
    """The records of some files, in order.

    Args:
        records: of the encoded images; a damaged one has an image of 0 bytes.
        labels: `(m,)` int64; of a damaged record NO_LABEL.
        names: `(m,)` the records' `file_name`, or file and number where they have none.
    """

    records: Records
    labels: np.ndarray
    names: list[str]


def index_records(paths: list[str | os.PathLike], counts: list[int] | None = None, engine=None) -> Index:
    """Find the images of TFRecord files. Reads about a kilobyte of each record, so not its checksum.

    A record that cannot be parsed and has a wrong checksum is kept as a damaged one. Others that are damaged are found
    when they are read.

    Args:
        counts: records there must be in each file.
        engine: which computes the checksums, see `pipelines.engines`.
    Raises: RecordError: if a file is absent, cut short or holds something else.
    """
    started, found, engine = time.perf_counter(), [], engine or find_engine()
    with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
        for number, entries in enumerate(pool.map(lambda path: index_file(path, engine), paths), start=1):
            found.append(entries)
            if counts is not None and len(entries) != counts[number - 1]:
                raise RecordError(f"{paths[number - 1]} holds {len(entries):,} of {counts[number - 1]:,} examples")
            if time.perf_counter() - started > REPORT_SECONDS:
                started = time.perf_counter()
                logger.info("indexed %d of %d files", number, len(paths))
    rows = [(file, *entry) for file, entries in enumerate(found) for entry in entries]
    files, starts, lengths, offsets, sizes, labels, names = zip(*rows, strict=True) if rows else ([],) * 7
    records = Records(
        paths=np.asarray([os.fsencode(path) for path in paths], dtype=object),
        files=np.asarray(files, np.int64),
        starts=np.asarray(starts, np.int64),
        lengths=np.asarray(lengths, np.int64),
        offsets=np.asarray(offsets, np.int64),
        sizes=np.asarray(sizes, np.int64),
    )
    return Index(records, np.asarray(labels, np.int64), list(names))


def index_file(path: str | os.PathLike, engine=None) -> list[tuple[int, int, int, int, int, str]]:
    """`(start, length, offset of the image, its size, label, name)` of every record of a file, see `Index`."""
    entries, start, length, engine = [], 0, 0, engine or find_engine()
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if hasattr(os, "posix_fadvise"):  # the rest of a record is not wanted
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            while start < size:
                head = _read(file, start, HEADER + HEAD)
                length = int.from_bytes(head[:8], "little")
                end = start + HEADER + length + FOOTER
                if len(head) < HEADER or end > size:
                    _explain_end(path, start, length, entries, engine)
                number = f"{os.path.basename(path)}, record {len(entries)}"
                try:
                    example = _example(_Record(file, head[HEADER:], start + HEADER, length))
                except (IndexError, UnicodeDecodeError):
                    if not engine.fault_at(path, start, length):
                        raise
                    example = (0, 0, NO_LABEL, None)
                entries.append((start, length, *example[:3], example[3] or number))
                start = end
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}") from error
    except (IndexError, UnicodeDecodeError):
        raise RecordError(f"{path} holds something else than examples at byte {start:,}") from None
    return entries


def _explain_end(path, start, length, entries, engine):
    """Raise RecordError for a file that does not go on at `start`: it is cut, or one of its lengths is damaged."""
    for begin, size in (*(entry[:2] for entry in entries[-1:]), (start, length)):
        if fault := engine.fault_at(path, begin, size):
            raise RecordError(f"{path}: the record at byte {begin:,} cannot be read: {fault}")
    raise RecordError(f"{path} ends within the record at byte {start:,}")


def read_ends(records: Records, rows: np.ndarray, head: int, tail: int) -> Iterator[tuple[bytes, bytes]]:
    """The first `head` and the last `tail` bytes of images, in the order of `rows`."""
    open_file, number = None, None
    try:
        for row in rows:
            if records.files[row] != number:
                if open_file:
                    open_file.close()
                number = records.files[row]
                open_file = open(records.paths[number], "rb", buffering=0)  # noqa: SIM115 - kept for its next images
            offset, size = int(records.starts[row] + HEADER + records.offsets[row]), int(records.sizes[row])
            first = _read(open_file, offset, min(head, size))
            last = min(tail, size)
            yield first, _read(open_file, offset + size - last, last) if last else b""
    finally:
        if open_file:
            open_file.close()


def parse_example(data: bytes) -> tuple[bytes, int]:
    """The image and the label of a serialized tf.train.Example. Raises: ValueError: if it is none."""
    try:
        begin, size, label, _ = _example(_Record(None, data, 0, len(data)))
    except (IndexError, UnicodeDecodeError):
        raise ValueError("a record holds something else than an example") from None
    return data[begin : begin + size], label


def _read(file, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


class _Record:
    """A record of which the head has been read; other bytes are read when they are asked for."""

    def __init__(self, file, head, start, length):
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
            if shift > 70:  # 64 bits take ten bytes
                raise IndexError
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
    """`(offset of the image in the record, its size, label, name)` of a serialized tf.train.Example."""
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
    name = record.part(*record.only(*found["file_name"], 1, 1)).decode() if "file_name" in found else None
    label, _ = record.varint(record.only(*found["label"], 3, 1)[0])  # Feature.int64_list (3).value (1)
    label &= 2**64 - 1
    return begin, end - begin, label - 2**64 if label >= 2**63 else label, name
