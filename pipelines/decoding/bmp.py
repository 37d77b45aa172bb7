"""BMP, uncompressed."""

from __future__ import annotations

import tensorflow as tf

from pipelines.decoding.octets import octets, part
from pipelines.decoding.reasons import DAMAGED, WAY_OUT
from pipelines.decoding.refusal import require, require_pixels

CORE = 12  # bytes of the oldest header, whose palette has three bytes a colour
HEADERS = (CORE, 40, 52, 56, 64, 108, 124)
PLAIN, RUN_LENGTHS, MASKS = 0, (1, 2), (3, 6)  # compressions
DEPTHS = (1, 4, 8, 16, 24, 32)  # bits a pixel
RARE = f"a BMP of a rare kind, not supported: {WAY_OUT}"


def decode(data, rule):
    """`(image, "")`: uint8 `(h, w, 3)` without its transparency.

    Source: Microsoft, Bitmap Storage.
    """
    # From its third byte on a header is a row of 32-bit numbers; zeros stand for what an old one has not.
    head = tf.cast(tf.io.decode_raw(part(data, 2, 64), tf.int32, fixed_length=64), tf.int64)
    start, header, compression, colours, masks = head[2], head[3], head[7], head[11], head[13:16]
    width, height, bits = head[4], head[5], head[6] // 2**16 % 2**16
    is_core = header == CORE
    old = tf.stack([head[4] % 2**16, head[4] // 2**16 % 2**16, head[5] // 2**16 % 2**16, PLAIN, 0])
    fields = tf.where(is_core, old, tf.stack([width, height, bits, compression, colours]))
    width, height, bits, compression, colours = tf.unstack(fields)
    is_masked = _is_one_of(compression, MASKS)
    data = require(data, _is_one_of(header, HEADERS) & _is_one_of(bits, DEPTHS), DAMAGED)
    data = require(data, ~_is_one_of(compression, RUN_LENGTHS), f"a BMP of run lengths, not supported: {WAY_OUT}")
    data = require(data, (compression == PLAIN) | (is_masked & (bits >= 16)), RARE)
    top_down, height = height < 0, tf.abs(height)
    data = require_pixels(data, height, width, rule)

    entry = tf.where(is_core, tf.constant(3, tf.int64), 4)
    colours = tf.where(colours == 0, tf.bitwise.left_shift(tf.ones((), tf.int64), tf.minimum(bits, 8)), colours)
    palette_at = 14 + header
    between = tf.where(bits <= 8, entry * colours, tf.where(is_masked & (header == 40), entry * 3, 0))
    # Some files do not count the palette, or nothing at all.
    start = tf.where((start == 0) | ((start == palette_at) & (bits <= 8)), palette_at + between, start)
    stride = (width * bits + 31) // 32 * 4
    data = require(data, (start >= 0) & (start < tf.cast(tf.strings.length(data), tf.int64)) & (colours > 0), DAMAGED)
    lines = octets(part(data, start, height * stride) + b"\0\0\0")[: height * stride]  # the last need not be filled up
    data = require(data, tf.size(lines, tf.int64) == height * stride, DAMAGED)
    with tf.control_dependencies([data]):
        lines = tf.reshape(lines, [height, stride])

    def in_palette(depth):
        def image():
            palette = _palette(part(data, palette_at, entry * tf.minimum(colours, 256)), entry)
            return tf.gather(palette, tf.cast(_unpacked(lines, depth)[:, :width], tf.int32))

        return image

    def masks_or(default):
        return tf.where(is_masked & tf.reduce_any(masks != 0), masks, default)

    def of_16_bits():
        pixels = tf.reshape(lines, [height, stride // 2, 2])[:, :width]
        return _by_masks(data, tf.cast(pixels, tf.int32), masks_or((0x7C00, 0x3E0, 0x1F)))

    def of_24_bits():
        return tf.reshape(lines[:, : width * 3], [height, width, 3])[..., ::-1]

    def of_32_bits():
        order = _bytes_of(data, masks_or((0xFF0000, 0xFF00, 0xFF)))
        return tf.gather(tf.reshape(lines, [height, width, 4]), order, axis=-1)

    branches = [*map(in_palette, (1, 4, 8)), of_16_bits, of_24_bits, of_32_bits]
    place = tf.argmax(tf.cast(bits == DEPTHS, tf.int32), output_type=tf.int32)
    image = tf.switch_case(place, branches)
    return tf.cond(top_down, lambda: image, lambda: image[::-1]), tf.constant(b"")


def _is_one_of(value, choices):
    return tf.reduce_any(value == choices)


def _palette(data, entry):
    """uint8 `(256, 3)`; what the file leaves out is a ramp of grey, as in Pillow."""
    values = octets(data)
    count = tf.size(values, tf.int64) // entry
    given = tf.reshape(values[: count * entry], [count, entry])[:, 2::-1]
    ramp = tf.constant([[level] * 3 for level in range(256)], tf.uint8)
    return tf.concat([given, ramp[count:]], 0)


def _unpacked(lines, depth):
    """The numbers of `depth` bits in rows of bytes, the upper bits first."""
    shifts = tf.constant(list(range(8 - depth, -1, -depth)), tf.uint8)
    parts = tf.bitwise.bitwise_and(tf.bitwise.right_shift(lines[:, :, None], shifts), 2**depth - 1)
    return tf.reshape(parts, (tf.shape(lines)[0], -1))


def _by_masks(data, pixels, masks):
    """uint8 channels of 16-bit pixels `(h, w, 2)`, each spread over 0..255."""
    data = require(data, tf.reduce_all((masks > 0) & (masks < 2**16)), RARE)
    with tf.control_dependencies([data]):
        masks = tf.cast(masks, tf.int32)
    lowest = tf.bitwise.bitwise_and(masks, -masks)
    values = pixels[..., :1] + 256 * pixels[..., 1:]
    return tf.cast(tf.bitwise.bitwise_and(values, masks) // lowest * 255 // (masks // lowest), tf.uint8)


def _bytes_of(data, masks):
    """Which byte of a 32-bit pixel each mask takes."""
    is_it = masks[:, None] % 2**32 == [255 * 256**k for k in range(4)]  # (3, 4)
    data = require(data, tf.reduce_all(tf.reduce_any(is_it, 1)), RARE)
    with tf.control_dependencies([data]):
        return tf.argmax(tf.cast(is_it, tf.int32), 1)
