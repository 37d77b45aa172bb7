"""WebP, of an animation the first frame."""

from __future__ import annotations

import tensorflow as tf

from pipelines.decoding.octets import as_text, find_chunk, length, numbers, part
from pipelines.decoding.reasons import DAMAGED
from pipelines.decoding.refusal import require, require_pixels

ANIMATED, WITH_ALPHA = 2, 16  # flags of an extended file
HEADER = 12  # bytes of RIFF's own


def decode(data, rule):
    """`(image, exif)`: uint8 `(h, w, 3)` without its transparency; its EXIF block, or "".

    Source: Google, WebP Container Specification.
    """
    is_extended = part(data, HEADER, 4) == b"VP8X"
    is_animated = is_extended & (numbers(data, 20, 1, tf.uint8)[0] // ANIMATED % 2 == 1)
    still, top, left = tf.cond(
        is_animated, lambda: _first_frame(data), lambda: (data, tf.zeros((), tf.int64), tf.zeros((), tf.int64))
    )
    height, width = _size(still)
    canvas = tf.cond(is_animated, lambda: _size(data), lambda: (height, width))
    still = require_pixels(require_pixels(still, height, width, rule), *canvas, rule)
    free = tf.stack([[top, canvas[0] - top - height], [left, canvas[1] - left - width], [0, 0]])
    still = require(still, tf.reduce_all(free >= 0), DAMAGED)
    image = tf.ensure_shape(tf.io.decode_webp(still, channels=0)[0], (None, None, None))[..., :3]
    image = tf.cond(is_animated, lambda: tf.pad(image, free), lambda: image)  # libwebp's canvas is black

    def exif():
        block = part(data, *find_chunk(data, HEADER, b"EXIF", big_endian=False))
        return tf.strings.regex_replace(block, rb"\AExif\x00\x00", b"")

    has_exif = is_extended & tf.strings.regex_full_match(data, rb"\C*EXIF\C*")
    return image, tf.cond(has_exif, exif, lambda: tf.constant(b""))


def _size(data):
    """Height and width by the header: of a frame 14 bits a side, of an extended file 24, less one."""
    head = numbers(data, HEADER, 18, tf.uint8)
    width, height = head[14] + head[15] % 64 * 256, head[16] + head[17] % 64 * 256
    bits = head[9] + head[10] * 2**8 + head[11] * 2**16 + head[12] * 2**24
    lossless = 1 + tf.stack([bits // 2**14 % 2**14, bits % 2**14])
    extended = 1 + tf.stack(
        [head[15] + head[16] * 2**8 + head[17] * 2**16, head[12] + head[13] * 2**8 + head[14] * 2**16]
    )
    kind = part(data, HEADER, 4)
    sides = tf.where(kind == b"VP8L", lossless, tf.where(kind == b"VP8X", extended, tf.stack([height, width])))
    return sides[0], sides[1]


def _first_frame(data):
    """The frame as a file of its own, and its place, top and left.

    TensorFlow's decoder gets no animation: in some it writes over its memory.
    """
    start, size = find_chunk(data, HEADER, b"ANMF", big_endian=False)
    data = require(data, size > 24, DAMAGED)
    place = numbers(data, start, 6, tf.uint8)
    content = part(data, start + 16, size - 16)
    alpha = tf.strings.join(
        [b"VP8X\x0a\0\0\0", as_text(tf.constant(WITH_ALPHA, tf.int64), 4), part(data, start + 6, 6)]
    )
    content = b"WEBP" + tf.where(part(content, 0, 4) == b"ALPH", alpha, b"") + content
    left, top = (2 * (place[k] + place[k + 1] * 2**8 + place[k + 2] * 2**16) for k in (0, 3))
    return b"RIFF" + as_text(length(content), 4) + content, top, left
