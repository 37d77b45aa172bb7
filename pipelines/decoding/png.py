"""PNG."""

from __future__ import annotations

import tensorflow as tf

from pipelines.decoding.octets import find_chunk, numbers, part
from pipelines.decoding.refusal import require_pixels
from pipelines.decoding.rule import PNG_SIGNATURE


def decode(data, rule):
    """`(image, exif)`: uint8 `(h, w, 3)` without its transparency, of 16 bits the upper 8; its EXIF block, or ""."""
    width, height = tf.unstack(numbers(data, 16, 2, tf.int32, big_endian=True))
    data = require_pixels(data, height, width, rule)

    def exif():
        return part(data, *find_chunk(data, len(PNG_SIGNATURE), b"eXIf", big_endian=True))

    has_exif = tf.strings.regex_full_match(data, rb"\C*eXIf\C*")
    return tf.io.decode_png(data, channels=3), tf.cond(has_exif, exif, lambda: tf.constant(b""))
