"""The reader in NumPy: what readers of data sets ask of it, see `pipelines.engines`."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np

from pipelines.arrays import decoder, loading
from pipelines.arrays.decoder import Refused, read
from pipelines.arrays.pixels import evaluation_view, to_uint8
from pipelines.arrays.resizing import resize
from pipelines.arrays.splits import ArraySplits
from pipelines.arrays.tfrecords import RecordFault, fault_at, record_at, whole_records
from pipelines.arrays.threads import pool
from pipelines.decoding.reasons import DAMAGED
from pipelines.decoding.rule import AS_VIEWERS_DO, Rule
from pipelines.examples import Examples, Records
from pipelines.readers import manual
from pipelines.readers.archives import ARCHIVES
from pipelines.readers.folder import Target
from pipelines.readers.named import Named
from pipelines.readers.prepared import Prepared, Shards, from_description
from pipelines.readers.records import parse_example
from pipelines.verdicts import WRONG_CHECKSUM, Progress, Reporter

__all__ = ["fault_at", "read"]  # of the engine's, as they are elsewhere

READS_ARCHIVES = True
ERRORS = (Refused, RecordFault)
READ_BATCH = 250
REPORT_IMAGES, CHECKED_AT_ONCE = 64, 4096


def hold(*examples: Examples) -> list[Examples]:
    """Examples as they are."""
    return list(examples)


def open_prepared(path: pathlib.Path) -> Prepared:
    """A prepared data set as its description's files have it."""
    return from_description(path)


def fetch(name: str, entry: Named, data: pathlib.Path) -> None:
    """Get the archives of a data set's authors: tensorflow-datasets prepares records with TensorFlow."""
    archives = ARCHIVES[name]
    manual.fetch(name, archives.sources, archives.folder(name, data))


def record_batches(files: Iterable[os.PathLike], entry: Named) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of TFRecord files, by the batch."""

    def decoded(records):
        images, labels = np.empty((len(records), *entry.image_shape), np.uint8), np.empty(len(records), np.int64)
        for k, record in enumerate(records):
            data, labels[k] = parse_example(record)
            image = decode_published(data, entry.image_shape[2])
            if image.shape != entry.image_shape:
                raise ValueError(f"an image has the shape {image.shape}, not {entry.image_shape}")
            images[k] = image
        return images, labels

    for file in files:
        yield from pool().map(decoded, _chunks(whole_records(file), READ_BATCH))


def _chunks(items, size):
    chunk = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def fault_of(shards: Shards) -> str | None:
    """Which of the files is damaged or has another number of records, and where; None if none is."""
    for file, count in zip(shards.files, shards.counts, strict=True):
        found = 0
        try:
            for _ in whole_records(file):
                found += 1
        except RecordFault as fault:
            return f"record {found} of {file} cannot be read: {fault}"
        if found != count:
            return f"{file} holds {found:,} of {count:,} examples"
    return None


def read_images(records: Records, rows: np.ndarray) -> Iterator[bytes | None]:
    """The encoded images at `rows`, in their order; None for a record whose checksum is wrong."""

    def image(row):
        try:
            data = record_at(records.paths[records.files[row]], int(records.starts[row]))
        except RecordFault:
            return None
        offset = int(records.offsets[row])
        return data[offset : offset + int(records.sizes[row])]

    yield from pool().map(image, rows)


def decode_published(data: bytes, channels: int) -> np.ndarray:
    """The pixels of an image of a published data set. Raises: Refused: if it is damaged."""
    return decoder.decode(data, channels, AS_VIEWERS_DO)


def decode_files(examples: Examples, target: Target) -> tuple[np.ndarray, list[int]]:
    """Decode images to `(n, h, w, c)` uint8, and say which could not be; their rows are undefined."""
    images = np.empty((len(examples), *target.image_shape), np.uint8)

    def view(data, position):
        image = decoder.decode(data, target.image_shape[2], target.rule)
        images[position] = evaluation_view(image, target.image_shape, target.resize)

    faults = _tried(examples, range(len(examples)), view, Reporter(len(examples), "decoded", target.progress))
    return images, sorted(faults)


def find_faults(
    examples: Examples, rule: Rule, positions: Iterable[int] | None = None, progress: Progress | None = None
) -> dict[int, str]:
    """The positions of the encoded images that the decoder refuses, each with the reason, which completes "it is ...".

    Args:
        positions: look at these alone; None looks at all.
        progress: called as `progress(done, total)`.
    """
    positions = list(range(len(examples)) if positions is None else positions)

    def check(data, _):
        decoder.check_whole(data, rule)

    faults = _tried(examples, positions, check, Reporter(len(positions), "checked", progress))
    return {int(k): reason(examples, k, rule) for k in sorted(faults)}


def _tried(examples, positions, use, report):
    """`use(bytes, position)` of all images; the positions of those that could not be used."""

    def attempt(position):
        try:
            use(loading.bytes_of(examples, position), position)
        except (*ERRORS, OSError):
            return position
        return None

    faults, done = set(), 0
    for start in range(0, len(positions), CHECKED_AT_ONCE):  # each that waits for a thread takes memory
        for position in pool().map(attempt, positions[start : start + CHECKED_AT_ONCE]):
            done += 1
            if position is not None:
                faults.add(position)
            if done % REPORT_IMAGES == 0 or done == len(positions):
                report(done)
    return faults


def reason(examples: Examples, position: int, rule: Rule) -> str:
    """Why an image cannot be used; completes "it is ..."."""
    try:
        data = loading.bytes_of(examples, position)
    except RecordFault:
        return WRONG_CHECKSUM
    except OSError as error:
        return f"not readable: {error.strerror}"
    return read(data, 3, rule)[1] or DAMAGED


def scale(images: np.ndarray, rows: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The images at `rows` at another size, with antialiasing; uint8."""
    return to_uint8(resize(images[rows], *size))


def make_splits(**fields) -> ArraySplits:
    return ArraySplits(**fields)
