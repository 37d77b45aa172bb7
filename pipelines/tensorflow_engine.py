"""The reader in TensorFlow: what readers of data sets ask of it, see `pipelines.engines`."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from pipelines import augment
from pipelines.cores import PARALLEL_CALLS
from pipelines.decoding import decoder
from pipelines.decoding.decoder import decode_published, read
from pipelines.decoding.reasons import DAMAGED
from pipelines.decoding.refusal import reason_of
from pipelines.decoding.rule import Rule
from pipelines.examples import Examples, Records
from pipelines.readers import named
from pipelines.readers.folder import Target
from pipelines.readers.named import Named, fetch
from pipelines.readers.prepared import Prepared, Shards, from_tfds
from pipelines.splits import Splits
from pipelines.streams import as_tensor, load_encoded, stream_options
from pipelines.tfrecords import DAMAGED as DAMAGED_RECORD
from pipelines.tfrecords import as_tensors, explain, fault_at, image_in, open_record
from pipelines.verdicts import WRONG_CHECKSUM, Progress, Reporter

__all__ = ["decode_published", "fault_at", "fetch", "read"]  # of the engine's, as they are elsewhere

READS_ARCHIVES = False  # tensorflow-datasets prepares them, also on request
ERRORS = (tf.errors.OpError,)
READ_BATCH = 250


def hold(*examples: Examples) -> list[Examples]:
    """Examples whose images and bytes are tensors, those that are shared made once."""
    tensors = {}

    def tensor(values):
        if values is None:
            return None
        if id(values) not in tensors:
            tensors[id(values)] = as_tensor(values)
        return tensors[id(values)]

    return [dataclasses.replace(item, images=tensor(item.images), encoded=tensor(item.encoded)) for item in examples]


def open_prepared(path: pathlib.Path) -> Prepared:
    """A prepared data set as tensorflow-datasets describes it."""
    return from_tfds(named.open_builder(path), path)


def record_batches(files: Iterable[os.PathLike], entry: Named) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of tfrecord files, parsed by the batch: 3 times faster than `builder.as_dataset`."""
    features = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}

    def parse(records):
        examples = tf.io.parse_example(records, features)
        signature = tf.TensorSpec(entry.image_shape, tf.uint8)
        images = tf.map_fn(
            lambda data: tf.ensure_shape(decode_published(data, entry.image_shape[2]), entry.image_shape),
            examples["image"],
            fn_output_signature=signature,
        )
        return images, examples["label"]

    stream = tf.data.TFRecordDataset([os.fspath(file) for file in files]).batch(READ_BATCH)
    stream = stream.map(parse, num_parallel_calls=PARALLEL_CALLS).prefetch(2).with_options(stream_options())
    return stream.as_numpy_iterator()


def fault_of(shards: Shards) -> str | None:
    """Which of the files is damaged or has another number of records, and where; None if none is.

    TensorFlow's own message names no file. It checks the checksum of each record.
    """
    for file, count in zip(shards.files, shards.counts, strict=True):
        found = 0
        try:
            for _ in tf.data.TFRecordDataset(os.fspath(file)):
                found += 1
        except tf.errors.OpError as error:
            return f"record {found} of {file} cannot be read: {explain(error)}"
        if found != count:
            return f"{file} holds {found:,} of {count:,} examples"
    return None


def read_images(records: Records, rows: np.ndarray) -> Iterator[bytes | None]:
    """The encoded images at `rows`, in their order; None for a record whose checksum is wrong."""
    records, rows = as_tensors(records), tf.constant(rows, tf.int64)
    stream = tf.data.Dataset.from_tensor_slices(rows)
    data = stream.interleave(
        lambda row: open_record(records, row),
        cycle_length=PARALLEL_CALLS, block_length=1, num_parallel_calls=PARALLEL_CALLS,
    )  # fmt: skip
    images = tf.data.Dataset.zip(data, stream).map(
        lambda record, row: (tf.equal(record, DAMAGED_RECORD), image_in(records, record, row))
    )
    for is_damaged, image in images.prefetch(1).with_options(stream_options()).as_numpy_iterator():
        yield None if is_damaged else image


def decode_files(examples: Examples, target: Target) -> tuple[np.ndarray, list[int]]:
    """Decode images to `(n, h, w, c)` uint8, and say which could not be; their rows are undefined."""
    images = np.empty((len(examples), *target.image_shape), np.uint8)
    seen = np.zeros(len(examples), bool)
    rule = dataclasses.replace(target.rule, only_usual=examples.only_usual)

    def view_of(data, position):
        image = decoder.decode(data, target.image_shape[2], rule)
        return position, augment.evaluation_view(image, target.image_shape, target.resize)

    stream = load_encoded(tf.data.Dataset.range(len(examples)), examples, view_of)
    for positions, batch in _decoded_batches(stream, Reporter(len(examples), "decoded", target.progress)):
        images[positions], seen[positions] = batch, True
    return images, np.flatnonzero(~seen).tolist()


def find_faults(
    examples: Examples, rule: Rule, positions: Iterable[int] | None = None, progress: Progress | None = None
) -> dict[int, str]:
    """The positions of the encoded images that the decoder refuses, each with the reason, which completes "it is ...".

    Args:
        positions: look at these alone; None looks at all.
        progress: called as `progress(done, total)`.
    """
    positions = np.arange(len(examples)) if positions is None else np.asarray(positions, np.int64)
    if len(positions) == 0:
        return {}
    passed = np.zeros(len(examples), bool)
    rule = dataclasses.replace(rule, only_usual=examples.only_usual)

    def check(data, position):
        return position, decoder.is_whole(data, rule)

    stream = load_encoded(tf.data.Dataset.from_tensor_slices(positions), examples, check)
    for seen, _ in _decoded_batches(stream, Reporter(len(positions), "checked", progress)):
        passed[seen] = True
    rule = dataclasses.replace(rule, only_usual=False)
    return {int(k): reason(examples, k, rule) for k in positions if not passed[k]}


def _decoded_batches(stream, report):
    """Batches of a stream of images, without those that raise an error."""
    stream, done = stream.ignore_errors(log_warning=False).batch(64).prefetch(2).with_options(stream_options()), 0
    for batch in stream.as_numpy_iterator():
        yield batch
        done += len(batch[0])
        report(done)


def reason(examples: Examples, position: int, rule: Rule) -> str:
    """Why an image cannot be used; completes "it is ..."."""
    try:
        data = _bytes_of(examples, position)
    except OSError as error:
        return f"not readable: {error.strerror}"
    except tf.errors.OpError as error:
        said = reason_of(error)
        return WRONG_CHECKSUM if said.startswith("data_record: ") else said
    return read(data, 3, rule)[1] or DAMAGED


def _bytes_of(examples, position):
    if examples.paths is not None:
        with open(examples.paths[examples.rows[position]], "rb") as file:
            return file.read()
    stream = load_encoded(tf.data.Dataset.from_tensors(np.int64(position)), examples, lambda data, _: data)
    return next(stream.as_numpy_iterator())


def scale(images, rows: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The images at `rows` at another size, with antialiasing; uint8."""
    return augment.to_uint8(augment.resize(tf.gather(images, rows), *size)).numpy()


def make_splits(**fields) -> Splits:
    return Splits(**fields)
