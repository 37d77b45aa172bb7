"""Numbers and chunks in the bytes of a file, in TensorFlow's operations. Positions and numbers are int64."""

from __future__ import annotations

import tensorflow as tf

LETTERS = [bytes([value]) for value in range(256)]


def octets(data, count=None):
    """The bytes of a scalar string as uint8 `(n,)`; `count`: so many, the first, filled up with zeros."""
    return tf.io.decode_raw(data, tf.uint8, fixed_length=count)


def number(values, at, size, big_endian=False):
    """The unsigned number in `size` bytes at a position of uint8 `(n,)`. Raises if they are not all there."""
    part = tf.ensure_shape(tf.cast(values[at : at + size], tf.int64), (size,))
    weights = [256**power for power in range(size)]
    return tf.reduce_sum(part * tf.constant(weights[::-1] if big_endian else weights, tf.int64))


def as_text(value, size):
    """A number as a string of `size` bytes, the lowest first."""
    digits = [(value // 256**power) % 256 for power in range(size)]
    return tf.strings.reduce_join(tf.gather(tf.constant(LETTERS), tf.stack(digits)))


def length(data):
    """Bytes in a scalar string."""
    return tf.cast(tf.strings.length(data), tf.int64)


def part(data, start, stop):
    """The bytes `start` to `stop` of a scalar string. Raises if `start` lies behind its end."""
    start, stop = tf.cast(start, tf.int64), tf.cast(stop, tf.int64)
    return tf.strings.substr(data, start, tf.maximum(stop - start, 0))


def find_chunk(data, start, name, big_endian):
    """Where the content of the first chunk of a name starts and stops; both 0 if there is none.

    Args:
        data: bytes, scalar string, with chunks from `start` on.
        name: four bytes.
        big_endian: True for PNG (length, name, content, checksum), False for RIFF (name, length, content, even).
    """
    values, code = octets(data), int.from_bytes(name, "little")
    end = tf.size(values, tf.int64)

    def is_open(at, found, _):
        return (found == 0) & (at + 8 <= end)

    def step(at, _, __):
        size = number(values, at + (0 if big_endian else 4), 4, big_endian)
        is_it = number(values, at + (4 if big_endian else 0), 4) == code
        behind = at + 12 + size if big_endian else at + 8 + size + size % 2
        none = tf.zeros((), tf.int64)
        return behind, tf.where(is_it, at + 8, none), tf.where(is_it, tf.minimum(at + 8 + size, end), none)

    none = tf.zeros((), tf.int64)
    return tf.while_loop(is_open, step, (tf.constant(start, tf.int64), none, none), parallel_iterations=1)[1:]
