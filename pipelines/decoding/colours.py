"""Colours to grey levels."""

from __future__ import annotations

import tensorflow as tf

# ITU-R BT.601's weights in 65,536ths, as Pillow's `convert("L")` rounds.
RED, GREEN, BLUE, HALF = 19595, 38470, 7471, 32768


def grey(image):
    """uint8 `(h, w, 3)` to `(h, w, 1)`."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), num=3, axis=-1)
    return tf.cast((red * RED + green * GREEN + blue * BLUE + HALF) // 65536, tf.uint8)[..., None]
