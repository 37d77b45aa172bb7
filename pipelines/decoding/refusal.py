"""How the decoder in TensorFlow says that it does not take an image, and how that is read from its exceptions."""

from __future__ import annotations

import re

import tensorflow as tf

from pipelines.decoding.reasons import DAMAGED, FOREIGN, HEAD_BYTES, NO_IMAGE, not_supported

SUBJECT = "the image is "


def require(data, condition, reason):
    """`data` where the condition holds. Raises InvalidArgumentError: with the reason, before `data` is used.

    Args:
        data: bytes, scalar string.
        reason: text or scalar string, without brackets.
    """
    said = tf.strings.join([SUBJECT, reason])
    with tf.control_dependencies([tf.debugging.Assert(condition, [said], summarize=1)]):
        return tf.identity(data)


def require_pixels(data, height, width, rule):
    """`data` if an image of this size may be decoded. Raises InvalidArgumentError: if it is too large, or empty."""
    height, width = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
    data = require(data, (height > 0) & (width > 0), DAMAGED)
    sides = [tf.strings.as_string(side) for side in (width, height)]
    too_large = tf.strings.join(
        ["too large: ", sides[0], " x ", sides[1], f" pixels, more than {rule.max_pixels:,} (`max_pixels`)"]
    )
    return require(data, width <= rule.max_pixels // tf.maximum(height, 1), too_large)


def refuse(data):
    """Raises InvalidArgumentError: that says what these bytes are, as far as it is known."""
    head = tf.io.decode_raw(data, tf.uint8, fixed_length=HEAD_BYTES)
    signs = [[-1] * at + list(sign) + [-1] * (HEAD_BYTES - at - len(sign)) for at, sign, _ in FOREIGN]
    reasons = [not_supported(name) for _, _, name in FOREIGN]
    fits = tf.reduce_all((tf.constant(signs) == tf.cast(head, tf.int32)) | (tf.constant(signs) < 0), 1)
    place = tf.argmax(tf.cast(tf.concat([fits, [True]], 0), tf.int32))  # the first that fits
    reason = tf.gather([*reasons, NO_IMAGE], place)
    return require(data, False, tf.where(tf.strings.length(data) == 0, "empty", reason))


def reason_of(error):
    """The reason in an exception of TensorFlow's that came from decoding or from reading a file."""
    said = re.search(r"assertion failed: \[(.*?)\]", str(error), re.DOTALL)
    if said:
        return said[1].removeprefix(SUBJECT)
    if isinstance(error, tf.errors.InvalidArgumentError):
        return DAMAGED
    text = str(error).splitlines()[0]
    return f"not readable: {text.split('; ')[-1]}" if "; " in text else f"not readable: {text[:200]}"
