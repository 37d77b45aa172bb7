"""EXIF orientation: how a camera was held, and the picture as it was seen."""

from __future__ import annotations

import tensorflow as tf

from pipelines.decoding.octets import length, part

ORIENTATION, SHORT, LONG = 0x0112, 3, 4
UPRIGHT = 1


def in_exif(block):
    """The orientation in an EXIF block, 1..8; 1 where it says none or cannot be read.

    Args:
        block: bytes, scalar string: a TIFF header, then tags of twelve bytes.
    Source: CIPA DC-008 (Exif 2.32), 4.6.4.
    """
    end, head = length(block), part(block, 0, 4)
    big = head == b"MM\0*"

    def read(data, kind):
        both = [tf.cast(tf.io.decode_raw(data, kind, little_endian=order), tf.int64) for order in (True, False)]
        return tf.where(big, both[1], both[0])

    start = read(part(block + b"\0" * 8, 4, 4), tf.int32)[0]
    is_exif = (big | (head == b"II*\0")) & (start >= 8) & (start < end)
    count = read(part(block + b"\0" * 2, tf.where(is_exif, start, end), 2), tf.uint16)[0]
    behind = tf.minimum(tf.where(is_exif, start + 2, end), end)
    count = tf.minimum(count, (end - behind) // 12)
    tags = tf.reshape(read(part(block, behind, 12 * count), tf.uint16), (-1, 6))
    name, kind, upper, lower = tags[:, 0], tags[:, 1], tags[:, 4], tags[:, 5]
    value = tf.where((kind == LONG) & big, upper * 65536 + lower, upper)  # of few bytes: their order decides
    is_it = (name == ORIENTATION) & ((kind == SHORT) | (kind == LONG)) & (value >= 1) & (value <= 8)
    return tf.cast(tf.concat([[UPRIGHT], tf.boolean_mask(value, is_it)], 0)[-1], tf.int32)


def swaps_sides(orientation):
    """Whether the picture is as high as the stored image is wide."""
    return orientation >= 5


def _mirrored(orientation):
    """Whether the image is mirrored top to bottom and left to right, after its sides are exchanged; `(2,)` bool."""
    return tf.gather([(0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (0, 0), (0, 1), (1, 1), (1, 0)], orientation) == 1


def turn(image, orientation):
    """`(h, w, c)` as it was seen."""

    def turned():
        sides = tf.cond(swaps_sides(orientation), lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        return tf.raw_ops.Reverse(tensor=sides, dims=tf.concat([_mirrored(orientation), [False]], 0))

    return tf.cond(orientation == UPRIGHT, lambda: image, turned)


def stored_window(window, size, orientation):
    """Where in the stored image a window of the picture lies; both are `(top, left, height, width)`.

    Args:
        size: `(2,)`, height and width of the picture.
    """
    corner = tf.where(_mirrored(orientation), size - window[:2] - window[2:], window[:2])
    return tf.concat([seen_size(corner, orientation), seen_size(window[2:], orientation)], 0)


def seen_size(size, orientation):
    """Height and width of the picture, from those of the stored image, or the other way round; `(2,)`."""
    return tf.where(swaps_sides(orientation), size[::-1], size)
