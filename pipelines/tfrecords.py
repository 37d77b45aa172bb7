"""One record of a TFRecord file, read by TensorFlow where it lies and with its checksums."""

from __future__ import annotations

import dataclasses
import os

import tensorflow as tf

from pipelines.framing import FOOTER, HEADER, TRUNCATED, WRONG_CHECKSUM

DAMAGED = b""  # in place of a record whose checksums are not those of its bytes; no example is empty


def record_at(file, start, length):
    """A tf.data stream of one element, the data of a record or `DAMAGED`.

    TensorFlow's reader of TFRecord files, begun in the middle of one. It is the only one of its operations that reads a
    part of a file and computes the checksum (CRC-32C).

    Args:
        file: scalar string.
        start, length: scalar int64, the byte at which the record begins and the bytes of its data.
    """
    record = _read_at(file, start, length).ignore_errors(log_warning=False)
    return record.concatenate(tf.data.Dataset.from_tensors(tf.constant(DAMAGED))).take(1)


def _read_at(file, start, length):
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[file], compression_type="", buffer_size=length + HEADER + FOOTER, byte_offsets=[start]
    )
    return tf.data.experimental.from_variant(variant, tf.TensorSpec((), tf.string)).take(1)


def fault_at(file: str | os.PathLike, start: int, length: int) -> str | None:
    """What is wrong with the record at a byte of a file, a sentence; None if it is whole."""
    # A damaged length would have as much memory allocated.
    name, where = os.fsencode(file), tf.constant([start, min(length, os.path.getsize(file))], tf.int64)
    # Within a function: as the source of a stream of its own the reader loses its position (TensorFlow 2.21).
    stream = tf.data.Dataset.from_tensors(where).flat_map(lambda where: _read_at(name, where[0], where[1]))
    try:
        return None if list(stream) else TRUNCATED
    except tf.errors.OpError as error:
        return explain(error)


def explain(error: tf.errors.OpError) -> str:
    """What TensorFlow's reader says of a record that it cannot read, in a sentence."""
    return TRUNCATED if "truncated record" in error.message else WRONG_CHECKSUM


def as_tensors(records):
    """`Records` whose arrays are tensors, made once for all streams that read of them."""
    fields = {field.name: tf.constant(getattr(records, field.name)) for field in dataclasses.fields(records)}
    return dataclasses.replace(records, **fields)


def open_record(records, row):
    """`record_at` for record `row` of `as_tensors(records)`."""
    return record_at(records.paths[records.files[row]], records.starts[row], records.lengths[row])


def image_in(records, record, row):
    """The bytes of the image in what `open_record` gave; empty if that is `DAMAGED`."""
    offset, size = (tf.cast(part[row], tf.int32) for part in (records.offsets, records.sizes))
    is_damaged = tf.equal(record, DAMAGED)
    return tf.strings.substr(record, tf.where(is_damaged, 0, offset), tf.where(is_damaged, 0, size))


def whole_image_in(records, record, row):
    """`image_in` of a record that must not be damaged. When run, raises InvalidArgumentError: `data_record: ...`"""
    at = tf.strings.as_string(records.starts[row])
    message = tf.strings.join(
        ["data_record: ", records.paths[records.files[row]], ": the record at byte ", at, " is damaged: its checksum "
         'is wrong. Get the data again, or leave damaged records out with `on_broken="skip"`.']
    )  # fmt: skip
    with tf.control_dependencies([tf.debugging.Assert(tf.not_equal(record, DAMAGED), [message])]):
        return image_in(records, record, row)
