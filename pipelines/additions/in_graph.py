"""A `Stage` inside tf.data: its NumPy and Pillow as functions that the graph calls.

TensorFlow has no operation for most of what the stage does, and one implementation gives both readers the same pixels.
The calls take Python's lock, but NumPy and Pillow let go of it.
"""

from __future__ import annotations

import tensorflow as tf

from pipelines.additions.stage import Stage


def change_pixels(stage: Stage, image, step, number):
    """`Stage.change_pixels` of one image, uint8."""
    changed = tf.numpy_function(stage.change_pixels, [image, step, number], tf.uint8, stateful=False)
    return tf.ensure_shape(changed, stage.image_shape)


def mix(stage: Stage, images, labels, step, part):
    """`Stage.mix`: `(images, labels)` of a part of a batch, whose images come with the one behind them."""
    mixed, shares = tf.numpy_function(
        lambda images, labels, step: stage.mix(images, labels, int(step), part),
        [images, labels, step],
        (tf.float32, tf.float32),
        stateful=False,
    )
    count = part[1] - part[0]
    return tf.ensure_shape(mixed, (count, *stage.image_shape)), tf.ensure_shape(shares, (count, stage.num_classes))


def whole(stage: Stage, images, labels, step, part):
    """`Stage.whole` of the images of a part of a batch, uint8, which come as `Stage.needed` says."""
    if stage.augmentation.changes_pixels:
        numbers = stage.needed(part)
        images = tf.numpy_function(
            lambda images, step: stage.change_all(images, int(step), numbers), [images, step], tf.uint8, stateful=False
        )
        images = tf.ensure_shape(images, (len(numbers), *stage.image_shape))
    return mix(stage, images, labels, step, part) if stage.augmentation.mixes else (images, labels)
