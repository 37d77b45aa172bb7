"""Numbers and chunks in the bytes of a file, in TensorFlow's operations. Positions and numbers are int64.

Few operations each: a decoder is a part of every stream, which takes time to begin for each operation in it.
"""

from __future__ import annotations

import tensorflow as tf

LETTERS = [bytes([value]) for value in range(256)]


def octets(data):
    """The bytes of a scalar string as uint8 `(n,)`."""
    return tf.io.decode_raw(data, tf.uint8)


def length(data):
    """Bytes in a scalar string."""
    return tf.cast(tf.strings.length(data), tf.int64)


def part(data, start, size):
    """`size` bytes of a scalar string, or as many as there are: none behind its end.

    `substr` alone would raise there, with the bytes in its message, which Python cannot read where they are no UTF-8.
    """
    return tf.strings.substr(data, tf.minimum(tf.cast(start, tf.int64), length(data)), tf.cast(size, tf.int64))


def numbers(data, at, count, kind=tf.uint16, big_endian=False):
    """`count` numbers of a type from a position on, int64. Raises if they are not all there."""
    values = tf.io.decode_raw(part(data, at, count * kind.size), kind, little_endian=not big_endian)
    return tf.cast(tf.ensure_shape(values, (count,)), tf.int64)


def as_text(value, size):
    """A number as a string of `size` bytes, the lowest first."""
    return tf.strings.reduce_join(tf.gather(LETTERS, value // [256**power for power in range(size)] % 256))


def find_chunk(data, start, name, big_endian):
    """Where the content of the first chunk of a name starts, and its size; both 0 if there is none.

    Args:
        data: bytes, scalar string, with chunks from `start` on.
        name: four bytes.
        big_endian: True for PNG (length, name, content, checksum), False for RIFF (name, length, content, even).
    """
    end, none = length(data), tf.zeros((), tf.int64)

    def is_open(at, found, _):
        return (found == 0) & (at + 8 <= end)

    def step(at, _, __):
        size = tf.maximum(numbers(data, at + (0 if big_endian else 4), 1, tf.int32, big_endian)[0], 0)
        is_it = part(data, at + (4 if big_endian else 0), 4) == name
        behind = at + 12 + size if big_endian else at + 8 + size + size % 2
        return behind, tf.where(is_it, at + 8, none), tf.where(is_it, tf.minimum(size, end - at - 8), none)

    return tf.while_loop(is_open, step, (tf.constant(start, tf.int64), none, none), parallel_iterations=1)[1:]
