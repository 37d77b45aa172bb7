"""GIF, the first frame."""

from __future__ import annotations

import tensorflow as tf

from pipelines.decoding.octets import length, numbers, octets, part
from pipelines.decoding.reasons import DAMAGED
from pipelines.decoding.refusal import require, require_pixels

EXTENSION, PICTURE, END, CONTROL = b"!", b",", b";", 0xF9
LOOK_AHEAD = 4096  # blocks


def decode(data, rule):
    """`(image, "")`: the first frame on its canvas, uint8 `(h, w, 3)`, without its transparency.

    TensorFlow's decoder gets that frame alone. It would unpack all of them, and show as black what is transparent.
    What the frame leaves free has the colour that is called transparent, else the first.
    Source: CompuServe, Graphics Interchange Format 89a.
    """
    size, background = tf.reverse(numbers(data, 6, 2), [0]), numbers(data, 10, 1, tf.uint8)
    colours = _palette_bytes(background[0])
    at, transparent = _first_picture(data, 13 + colours)
    data = require(data, at + 11 < length(data), DAMAGED)
    place, flags = numbers(data, at + 1, 4), numbers(data, at + 9, 1, tf.uint8)[0]
    corner, extent = tf.reverse(place[:2], [0]), tf.reverse(place[2:], [0])  # row and column
    own = _palette_bytes(flags)
    stop = _behind_blocks(data, at + 11 + own)
    canvas = tf.maximum(size, corner + extent)
    data = require_pixels(require_pixels(data, *tf.unstack(extent), rule), *tf.unstack(canvas), rule)
    alone = tf.strings.join(
        [
            part(data, 0, 6), part(data, at + 5, 4), part(data, 10, 3 + colours),  # a canvas of the frame's size
            b",\0\0\0\0", part(data, at + 5, stop - at - 5), b";",
        ]
    )  # fmt: skip
    frame = tf.io.decode_gif(alone)[0]

    def on_canvas():
        palette, entries = tf.where(own > 0, at + 10, 13), tf.where(own > 0, own, colours) // 3
        colour = octets(part(data, palette + 3 * tf.where(transparent < entries, transparent, 0), 3))
        free = tf.stack([corner, canvas - corner - extent], 1)
        inside = tf.pad(tf.ones(extent, tf.bool), free)
        padded = tf.pad(frame, tf.concat([free, [[0, 0]]], 0))
        return tf.where(inside[..., None], padded, colour)

    return tf.cond(tf.reduce_any(canvas > extent), on_canvas, lambda: frame), tf.constant(b"")


def _palette_bytes(flags):
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(tf.constant(2, tf.int64), flags % 8), 0)


def _first_picture(data, start):
    """Where the first picture's descriptor is, or the end of the file; and the number of its transparent colour."""
    end = length(data)

    def is_open(at, _):
        return (at < end) & (part(data, tf.minimum(at, end), 1) != PICTURE)

    def step(at, transparent):
        def extension():
            head = numbers(data + b"\0" * 7, at, 7, tf.uint8)
            says = (head[1] == CONTROL) & (head[2] > 0) & (head[3] % 2 == 1)
            return _behind_blocks(data, at + 2), tf.where(says, head[6], transparent)

        def another():
            return tf.where(part(data, at, 1) == END, end, at + 1), transparent

        return tf.cond(part(data, at, 1) == EXTENSION, extension, another)

    return tf.while_loop(is_open, step, (start, tf.zeros((), tf.int64)), parallel_iterations=1)


def _behind_blocks(data, start):
    """The position behind a row of blocks, each its length and content, that ends with one of length 0.

    Encoders write blocks of one length: as many as are alike are passed over at once.
    """
    end, values = length(data), octets(data)

    def is_open(at, is_done):
        return ~is_done & (at < end)

    def step(at, _):
        stride = tf.cast(values[at], tf.int64) + 1
        ahead = values[at : at + LOOK_AHEAD * stride : stride]
        alike = tf.reduce_sum(tf.math.cumprod(tf.cast(ahead == ahead[0], tf.int64)))
        is_done = stride == 1
        return at + tf.where(is_done, stride, alike * stride), is_done

    at, _ = tf.while_loop(is_open, step, (start, tf.constant(False)), parallel_iterations=1)
    return tf.minimum(at, end)
