"""Which images cannot be used, found by decoding each of them once: what passes is decoded later, whoever reads it."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from pipelines.decoding import decoder
from pipelines.decoding.refusal import DAMAGED, reason_of
from pipelines.decoding.rule import HEAD_BYTES, USUAL, Rule
from pipelines.examples import Examples
from pipelines.streams import load_encoded, stream_options

logger = logging.getLogger(__name__)

REPORT_SECONDS = 5.0
WRONG_CHECKSUM = "in a record whose checksum is wrong"
Progress = Callable[[int, int], None]


def marked(examples: Examples) -> Examples:
    """Examples in files or in memory, with `only_usual` as the images' first bytes say."""
    return dataclasses.replace(examples, only_usual=all(head.startswith(USUAL) for head in _heads(examples)))


def _heads(examples):
    if examples.encoded is not None:
        yield from tf.strings.substr(tf.gather(examples.encoded, examples.rows), 0, HEAD_BYTES).numpy()
        return
    for row in examples.rows:
        try:
            with open(examples.paths[row], "rb", buffering=0) as file:
                yield file.read(HEAD_BYTES)
        except OSError:
            continue  # not decoded in any case


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
    for seen, _ in decoded_batches(stream, len(positions), "checked", progress):
        passed[seen] = True
    rule = dataclasses.replace(rule, only_usual=False)
    return {int(k): reason(examples, k, rule) for k in positions if not passed[k]}


def decoded_batches(stream, total: int, done_what: str, progress: Progress | None = None):
    """Batches of a stream of images, without those that raise an error; says how far it has come."""
    stream = stream.ignore_errors(log_warning=False).batch(64).prefetch(2).with_options(stream_options())
    reported, done = time.perf_counter(), 0
    for batch in stream.as_numpy_iterator():
        yield batch
        done += len(batch[0])
        if progress is not None:
            progress(done, total)
        elif time.perf_counter() - reported > REPORT_SECONDS:
            reported = time.perf_counter()
            logger.info("%s %s of %s images", done_what, f"{done:,}", f"{total:,}")


def reason(examples: Examples, position: int, rule: Rule) -> str:
    """Why an image cannot be used; completes "it is ..."."""
    try:
        data = _bytes_of(examples, position)
    except OSError as error:
        return f"not readable: {error.strerror}"
    except tf.errors.OpError as error:
        said = reason_of(error)
        return WRONG_CHECKSUM if said.startswith("data_record: ") else said
    return decoder.read(data, 3, rule)[1] or DAMAGED


def _bytes_of(examples, position):
    if examples.paths is not None:
        with open(examples.paths[examples.rows[position]], "rb") as file:
            return file.read()
    stream = load_encoded(tf.data.Dataset.from_tensors(np.int64(position)), examples, lambda data, _: data)
    return next(stream.as_numpy_iterator())
