"""EXIF orientation: how a camera was held, and the picture as it was seen."""

from __future__ import annotations

import tensorflow as tf

ORIENTATION, SHORT, LONG = 0x0112, 3, 4
UPRIGHT = 1


def in_exif(values):
    """The orientation in an EXIF block, 1..8; 1 where it says none or cannot be read.

    Args:
        values: uint8 `(n,)`, the block: a TIFF header, then tags.
    Source: CIPA DC-008 (Exif 2.32), 4.6.4.
    """
    total = tf.size(values)
    values = tf.cast(tf.concat([values, tf.zeros(16, tf.uint8)], 0), tf.int32)
    little, big = (tf.reduce_all(values[:4] == tf.constant(list(head))) for head in (b"II*\0", b"MM\0*"))

    def read(*parts):
        """A number of bytes given from the highest to the lowest as they lie in a file of the other order."""
        ordered = tf.stack(parts, -1)
        ordered = tf.where(big, ordered, tf.reverse(ordered, [-1]))
        return tf.reduce_sum(ordered * [256**power for power in range(len(parts))][::-1], -1)

    start = read(*tf.unstack(values[4:8], num=4))
    start = tf.where((start >= 8) & (start <= total), start, total) + 2
    count = tf.minimum(read(values[start - 2], values[start - 1]), tf.maximum(total - start, 0) // 12)
    tags = tf.reshape(values[start : start + 12 * count], (-1, 12))
    kind, short = read(tags[:, 2], tags[:, 3]), read(tags[:, 8], tags[:, 9])
    value = tf.where(kind == LONG, read(*tf.unstack(tags[:, 8:12], num=4, axis=1)), short)
    is_it = (read(tags[:, 0], tags[:, 1]) == ORIENTATION) & ((kind == SHORT) | (kind == LONG))
    found = tf.concat([[UPRIGHT], tf.boolean_mask(value, is_it)], 0)[-1]
    return tf.where((little | big) & (found >= 1) & (found <= 8), found, UPRIGHT)


def swaps_sides(orientation):
    """Whether the picture is as high as the stored image is wide."""
    return orientation >= 5


def _mirrored(orientation):
    """Whether the image is mirrored top to bottom and left to right, after its sides are exchanged."""
    return (orientation == 3) | (orientation == 4) | (orientation >= 7), (
        (orientation == 2) | (orientation == 3) | (orientation == 6) | (orientation == 7)
    )


def turn(image, orientation):
    """`(h, w, c)` as it was seen."""

    def turned():
        sides = tf.cond(swaps_sides(orientation), lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        return tf.raw_ops.Reverse(tensor=sides, dims=tf.stack([*_mirrored(orientation), False]))

    return tf.cond(orientation == UPRIGHT, lambda: image, turned)


def stored_window(window, size, orientation):
    """Where in the stored image a window of the picture lies; both are `(top, left, height, width)`.

    Args:
        size: `(2,)`, height and width of the picture.
    """
    top, left, height, width = tf.unstack(window)
    flipped, mirrored = _mirrored(orientation)
    top = tf.where(flipped, size[0] - top - height, top)
    left = tf.where(mirrored, size[1] - left - width, left)
    swapped = tf.stack([left, top, width, height])
    return tf.where(swaps_sides(orientation), swapped, tf.stack([top, left, height, width]))


def seen_size(size, orientation):
    """Height and width of the picture, from those of the stored image; `(2,)`."""
    return tf.where(swaps_sides(orientation), size[::-1], size)
