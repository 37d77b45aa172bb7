"""GIF, the first frame."""

from __future__ import annotations

import tensorflow as tf

from pipelines.decoding.octets import number, octets, part
from pipelines.decoding.refusal import DAMAGED, require, require_pixels

EXTENSION, CONTROL, PICTURE, END = 0x21, 0xF9, 0x2C, 0x3B
LOOK_AHEAD = 4096  # blocks


def decode(data, rule):
    """The first frame on its canvas, uint8 `(h, w, 3)`, without its transparency.

    TensorFlow's decoder gets that frame alone. It would unpack all of them, and show as black what is transparent.
    What the frame leaves free has the colour that is called transparent, else the first.
    Source: CompuServe, Graphics Interchange Format 89a.
    """
    values = octets(data)
    colours = _palette_bytes(octets(data, 13)[10])
    at, transparent = _first_picture(values, 13 + colours)
    data = require(data, at + 10 < tf.size(values, tf.int64), DAMAGED)
    left, top, width, height = (number(values, at + place, 2) for place in (1, 3, 5, 7))
    own = _palette_bytes(values[at + 9])
    stop = _behind_blocks(values, at + 11 + own)
    rows = tf.maximum(number(values, 8, 2), top + height)
    columns = tf.maximum(number(values, 6, 2), left + width)
    data = require_pixels(require_pixels(data, height, width, rule), rows, columns, rule)
    alone = tf.strings.join(
        [
            part(data, 0, 6), part(data, at + 5, at + 9), part(data, 10, 13 + colours),  # a canvas of the frame's size
            b",\0\0\0\0", part(data, at + 5, stop), b";",
        ]
    )  # fmt: skip
    frame = tf.io.decode_gif(alone)[0]
    free = [[top, rows - top - height], [left, columns - left - width]]
    place = tf.where(own > 0, at + 10, 13) + 3 * transparent

    def on_canvas():
        known = place + 3 <= tf.where(own > 0, at + 10 + own, 13 + colours)
        colour = tf.cond(known, lambda: values[place : place + 3], lambda: tf.zeros(3, tf.uint8))
        return tf.stack([tf.pad(frame[..., k], free, constant_values=colour[k]) for k in range(3)], -1)

    return tf.cond(tf.reduce_any(tf.stack(free) > 0), on_canvas, lambda: frame)


def _palette_bytes(flags):
    flags = tf.cast(flags, tf.int64)
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(tf.constant(2, tf.int64), flags % 8), 0)


def _first_picture(values, start):
    """Where the first picture's descriptor is, or the end of the file; and the number of its transparent colour."""
    end = tf.size(values, tf.int64)

    def is_open(at, _):
        return (at < end) & (values[tf.minimum(at, end - 1)] != PICTURE)

    def step(at, transparent):
        def extension():
            head = tf.concat([values[at : at + 7], tf.zeros(7, tf.uint8)], 0)
            says = (head[1] == CONTROL) & (head[2] > 0) & (head[3] % 2 == 1)
            return _behind_blocks(values, at + 2), tf.where(says, tf.cast(head[6], tf.int64), transparent)

        def another():
            return tf.where(values[at] == END, end, at + 1), transparent

        return tf.cond(values[at] == EXTENSION, extension, another)

    return tf.while_loop(is_open, step, (start, tf.zeros((), tf.int64)), parallel_iterations=1)


def _behind_blocks(values, start):
    """The position behind a row of blocks, each its length and content, that ends with one of length 0.

    Encoders write blocks of one length: as many as are alike are passed over at once.
    """
    end = tf.size(values, tf.int64)

    def is_open(at, is_done):
        return ~is_done & (at < end)

    def step(at, _):
        step_bytes = tf.cast(values[at], tf.int64) + 1
        ahead = values[at : at + LOOK_AHEAD * step_bytes : step_bytes]
        alike = tf.reduce_sum(tf.math.cumprod(tf.cast(ahead == values[at], tf.int64)))
        is_done = step_bytes == 1
        return at + tf.where(is_done, step_bytes, alike * step_bytes), is_done

    at, _ = tf.while_loop(is_open, step, (start, tf.constant(False)), parallel_iterations=1)
    return tf.minimum(at, end)
