"""BMP, uncompressed."""

from __future__ import annotations

import tensorflow as tf

from pipelines.decoding.octets import number, octets
from pipelines.decoding.refusal import DAMAGED, WAY_OUT, require, require_pixels

CORE = 12  # bytes of the oldest header, whose palette has three bytes a colour
HEADERS = (CORE, 40, 52, 56, 64, 108, 124)
PLAIN, RUN_LENGTHS, MASKS = (0,), (1, 2), (3, 6)  # compressions
DEPTHS = (1, 4, 8, 16, 24, 32)  # bits a pixel
DEFAULT_MASKS = {16: (0x7C00, 0x3E0, 0x1F), 32: (0xFF0000, 0xFF00, 0xFF)}


def decode(data, rule):
    """The picture, uint8 `(h, w, 3)`, without its transparency.

    Source: Microsoft, Bitmap Storage.
    """
    head = octets(data, 66)  # no more of it is looked at than there is in the oldest header, or zeros
    header = number(head, 14, 4)
    is_core = header == CORE

    def field(old, at, size):
        if old is None:
            return tf.where(is_core, tf.zeros((), tf.int64), number(head, at, size))
        return tf.where(is_core, number(head, old, 2), number(head, at, size))

    width, height, bits = field(18, 18, 4), field(20, 22, 4), field(24, 28, 2)
    compression, colours = field(None, 30, 4), field(None, 46, 4)
    top_down = height >= 2**31
    height = tf.where(top_down, 2**32 - height, height)
    data = require(data, _is_one_of(header, HEADERS) & _is_one_of(bits, DEPTHS), DAMAGED)
    data = require(data, ~_is_one_of(compression, RUN_LENGTHS), f"a BMP of run lengths, not supported: {WAY_OUT}")
    is_masked = _is_one_of(compression, MASKS)
    is_known = _is_one_of(compression, PLAIN) | (is_masked & (bits >= 16))
    data = require(data, is_known, f"a BMP of a rare kind, not supported: {WAY_OUT}")
    data = require_pixels(data, height, width, rule)

    values = octets(data)
    entry = tf.where(is_core, tf.constant(3, tf.int64), 4)
    colours = tf.where(colours == 0, tf.bitwise.left_shift(tf.ones((), tf.int64), tf.minimum(bits, 8)), colours)
    palette_at = 14 + header
    palette_bytes = tf.where(
        bits <= 8, entry * colours, tf.where(is_masked & (header == 40), tf.constant(12, tf.int64), 0)
    )
    start = number(head, 10, 4)  # some files count neither the palette nor anything else
    start = tf.where((start == 0) | ((start == palette_at) & (bits <= 8)), palette_at + palette_bytes, start)
    stride = (width * bits + 31) // 32 * 4
    lines = tf.concat([values[start:], tf.zeros(3, tf.uint8)], 0)[: height * stride]  # the last need not be filled up
    data = require(data, tf.size(lines, tf.int64) == height * stride, DAMAGED)
    with tf.control_dependencies([data]):
        lines = tf.reshape(lines, tf.stack([height, stride]))

    def in_palette(depth):
        def image():
            palette = _palette(values, palette_at, entry, colours)
            return tf.gather(palette, tf.cast(_unpacked(lines, depth)[:, :width], tf.int32))

        return image

    def masks(depth):
        given = [number(head, 54 + 4 * k, 4) for k in range(3)]
        use = is_masked & (tf.reduce_sum(tf.stack(given)) > 0)
        return [tf.where(use, mask, default) for mask, default in zip(given, DEFAULT_MASKS[depth], strict=True)]

    def of_16_bits():
        pixels = tf.reshape(lines, tf.stack([height, stride // 2, 2]))[:, :width]
        return _by_masks(data, tf.cast(pixels, tf.int32), masks(16))

    def of_bytes(depth, order):
        pixels = tf.reshape(lines[:, : width * (depth // 8)], tf.stack([height, width, depth // 8]))
        return tf.gather(pixels, order, axis=-1)

    def of_32_bits():
        return of_bytes(32, _bytes_of(data, masks(32)))

    branches = [*map(in_palette, (1, 4, 8)), of_16_bits, lambda: of_bytes(24, [2, 1, 0]), of_32_bits]
    place = tf.argmax(tf.cast(bits == tf.constant(DEPTHS, tf.int64), tf.int32), output_type=tf.int32)
    image = tf.switch_case(place, branches)
    return tf.cond(top_down, lambda: image, lambda: image[::-1])


def _is_one_of(value, choices):
    return tf.reduce_any(value == tf.constant(choices, tf.int64))


def _palette(values, at, entry, count):
    """uint8 `(256, 3)`; what the file leaves out is a ramp of grey, as in Pillow."""
    count = tf.minimum(tf.minimum(count, 256), (tf.size(values, tf.int64) - at) // entry)
    given = tf.reshape(values[at : at + count * entry], tf.stack([count, entry]))[:, 2::-1]
    ramp = tf.tile(tf.range(256)[:, None], (1, 3))
    return tf.concat([given, tf.cast(ramp[count:], tf.uint8)], 0)


def _unpacked(lines, depth):
    """The numbers of `depth` bits in rows of bytes, the upper bits first."""
    shifts = tf.constant(list(range(8 - depth, -1, -depth)), tf.uint8)
    parts = tf.bitwise.bitwise_and(tf.bitwise.right_shift(lines[:, :, None], shifts), 2**depth - 1)
    return tf.reshape(parts, (tf.shape(lines)[0], -1))


def _by_masks(data, pixels, masks):
    """uint8 channels of 16-bit pixels `(h, w, 2)`, each spread over 0..255."""
    value = pixels[..., 0] + 256 * pixels[..., 1]
    channels = []
    for mask in masks:
        mask = tf.cast(mask, tf.int32)
        require(data, (mask > 0) & (mask < 2**16), DAMAGED)
        lowest = tf.maximum(tf.bitwise.bitwise_and(mask, -mask), 1)
        channels.append(tf.bitwise.bitwise_and(value, mask) // lowest * 255 // tf.maximum(mask // lowest, 1))
    return tf.cast(tf.stack(channels, -1), tf.uint8)


def _bytes_of(data, masks):
    """Which byte of a 32-bit pixel each mask takes."""
    is_it = tf.stack(masks)[:, None] == tf.constant([255 * 256**k for k in range(4)], tf.int64)  # (3, 4)
    data = require(data, tf.reduce_all(tf.reduce_any(is_it, 1)), f"a BMP of a rare kind, not supported: {WAY_OUT}")
    with tf.control_dependencies([data]):
        return tf.argmax(tf.cast(is_it, tf.int32), 1)
