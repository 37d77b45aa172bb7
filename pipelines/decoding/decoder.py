"""Any image file: its kind is read off its bytes, a name does not count."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from pipelines.decoding import bmp, gif, jpeg, orientation, png, webp
from pipelines.decoding.colours import grey
from pipelines.decoding.octets import part
from pipelines.decoding.reasons import DAMAGED
from pipelines.decoding.refusal import reason_of, refuse
from pipelines.decoding.rule import AS_VIEWERS_DO, PNG_SIGNATURE, USUAL, Rule
from pipelines.decoding.tracing import traced_once

BYTES = tf.TensorSpec((), tf.string)


def decode(data, channels, rule: Rule = AS_VIEWERS_DO):
    """JPEG, PNG, GIF, BMP or WebP bytes to uint8 `(h, w, channels)`; of an animation the first frame.

    Transparency is left out: the colours under it are shown. CMYK becomes RGB; channels=1 is the luminance.

    Args:
        data: bytes, scalar string.
        channels: 3 (colour) or 1 (grey).
    Raises: tf.errors.InvalidArgumentError: if the image is refused; `reason_of` reads why.
    """
    return _decode(data, channels, rule)


@traced_once(BYTES)
def _decode(data, channels, rule):
    image = tf.cond(
        tf.io.is_jpeg(data), lambda: jpeg.decode(data, channels, rule), lambda: _decode_another(data, channels, rule)
    )
    return tf.ensure_shape(image, (None, None, channels))


def _decode_another(data, channels, rule):
    image, exif = png.decode(data, rule) if rule.only_usual else _decode_any_other(data, rule)
    image = tf.ensure_shape(image, (None, None, 3))
    if rule.exif_orientation:
        image = orientation.turn(image, orientation.in_exif(exif))
    return grey(image) if channels == 1 else image


def _decode_any_other(data, rule):
    kinds = (png, PNG_SIGNATURE), (gif, b"GIF8"), (bmp, b"BM"), (webp, b"RIFF")
    is_kind = [part(data, 0, len(sign)) == sign for _, sign in kinds]
    is_kind[-1] &= part(data + b"\0" * 8, 8, 4) == b"WEBP"

    def decoded(kind):
        return lambda: kind.decode(data, rule)

    def none():
        return tf.zeros((0, 0, 3), tf.uint8), refuse(data)

    place = tf.argmax(tf.cast(tf.stack([*is_kind, True]), tf.int32), output_type=tf.int32)
    return tf.switch_case(place, [*(decoded(kind) for kind, _ in kinds), none])


@traced_once(BYTES)
def is_whole(data, rule: Rule):
    """True; raises what `decode` raises. A JPEG is decoded at an eighth of its size, which reads all of its bytes."""

    def jpeg_is():
        small = tf.io.decode_jpeg(jpeg.read_header(data, rule).data, channels=3, ratio=8)
        return tf.size(small) > 0

    return tf.cond(tf.io.is_jpeg(data), jpeg_is, lambda: tf.size(_decode_another(data, 3, rule)) > 0)


def decode_published(data, channels):
    """`decode` of an image of a published data set, which is none of the odd ones: in a third of the time."""
    return tf.io.decode_image(data, channels=channels, expand_animations=False)


def read(data: bytes, channels: int, rule: Rule = AS_VIEWERS_DO):
    """`decode` of one image, from Python: `(pixels, None)`, or None and the reason, which completes "it is ..."."""
    rule = dataclasses.replace(rule, only_usual=data.startswith(USUAL))
    try:
        return decode(data, channels, rule), None
    except tf.errors.InvalidArgumentError as error:
        return None, reason_of(error)
    except UnicodeDecodeError:  # a message of TensorFlow's that quotes the image's bytes
        return None, DAMAGED
