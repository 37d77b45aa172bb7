"""WebP, of an animation the first frame."""

from __future__ import annotations

import tensorflow as tf

from pipelines.decoding import orientation
from pipelines.decoding.octets import as_text, find_chunk, length, number, octets, part
from pipelines.decoding.refusal import DAMAGED, require, require_pixels

ANIMATED, WITH_ALPHA = 2, 16  # flags of an extended file


def decode(data, rule):
    """The picture, uint8 `(h, w, 3)`, without its transparency.

    Source: Google, WebP Container Specification.
    """
    head = octets(data, 30)
    is_extended = part(data + b"\0" * 16, 12, 16) == b"VP8X"
    is_animated = is_extended & (head[20] // ANIMATED % 2 == 1)
    image = tf.cond(is_animated, lambda: _first_frame(data, rule), lambda: _still(data, rule))
    if not rule.exif_orientation:
        return image

    def turned():
        start, stop = find_chunk(data, 12, b"EXIF", big_endian=False)
        block = octets(data)[start:stop]
        has_prefix = part(data, start, start + 6) == b"Exif\0\0"
        return orientation.turn(image, orientation.in_exif(tf.cond(has_prefix, lambda: block[6:], lambda: block)))

    has_exif = is_extended & tf.strings.regex_full_match(data, rb"\C*EXIF\C*")
    return tf.cond(has_exif, turned, lambda: image)


def _still(data, rule):
    head = octets(data, 30)
    kind = part(data + b"\0" * 16, 12, 16)
    width, height = number(head, 26, 2) % 2**14, number(head, 28, 2) % 2**14
    bits = number(head, 21, 4)
    lossless = kind == b"VP8L"
    width, height = tf.where(lossless, bits % 2**14 + 1, width), tf.where(lossless, bits // 2**14 % 2**14 + 1, height)
    extended = kind == b"VP8X"
    width = tf.where(extended, number(head, 24, 3) + 1, width)
    height = tf.where(extended, number(head, 27, 3) + 1, height)
    data = require_pixels(data, height, width, rule)
    return tf.ensure_shape(tf.io.decode_webp(data, channels=0)[0], (None, None, None))[..., :3]


def _first_frame(data, rule):
    """TensorFlow's decoder gets the frame as a file of its own: it writes over its memory in some animations."""
    head = octets(data, 30)
    rows, columns = number(head, 27, 3) + 1, number(head, 24, 3) + 1
    start, stop = find_chunk(data, 12, b"ANMF", big_endian=False)
    data = require_pixels(require(data, stop - start > 24, DAMAGED), rows, columns, rule)
    values = octets(data)
    left, top = 2 * number(values, start, 3), 2 * number(values, start + 3, 3)
    content = part(data, start + 16, stop)
    alpha = tf.where(
        part(content, 0, 4) == b"ALPH",
        tf.strings.join([b"VP8X\x0a\0\0\0", as_text(WITH_ALPHA, 4), part(data, start + 6, start + 12)]),
        b"",
    )
    content = b"WEBP" + alpha + content
    frame = _still(b"RIFF" + as_text(length(content), 4) + content, rule)
    height, width = tf.unstack(tf.shape(frame, tf.int64)[:2])
    free = [[top, rows - top - height], [left, columns - left - width], [0, 0]]
    data = require(data, tf.reduce_all(tf.stack(free) >= 0), DAMAGED)
    with tf.control_dependencies([data]):
        return tf.pad(frame, free)  # libwebp's canvas is black where no frame lies
