"""From the bytes of one image file to pixels, decoding no more of a JPEG than is looked at."""

from __future__ import annotations

import tensorflow as tf

from pipelines import augment

JPEG_RATIOS = (1, 2, 4, 8)  # a JPEG decoder gives the image at these fractions of its size, at a fraction of the work
# A JPEG's colours are stored at half its size: the last column that is decoded lacks a neighbour.
SPARE_PIXELS = 2

HEAD_BYTES, TAIL_BYTES = 32, 64  # what `whole_kind` wants to see


def whole_kind(head: bytes, tail: bytes) -> str | None:
    """ "jpeg", "png" or "other" by an image's first and last bytes; None if it is empty, cut short or no image."""
    if head[:2] == b"\xff\xd8":
        return "jpeg" if b"\xff\xd9" in tail else None
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png" if b"IEND" in tail else None
    known = head[:4] == b"GIF8" or head[:2] == b"BM" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    return "other" if known else None


def decode(data, channels):
    """JPEG, PNG, GIF (first frame), BMP or WebP bytes to uint8 `(h, w, channels)`.

    What the bytes are is read off them: a name does not count. A CMYK or YCCK JPEG becomes RGB.
    """
    image = tf.io.decode_image(data, channels=channels, expand_animations=False)
    image.set_shape((None, None, channels))
    return image


def evaluation_pixels(data, image_shape, resize_to=None, only_jpegs=False):
    """`augment.evaluation_pixels` of an image still encoded.

    Of a JPEG what lies below and right of the part that evaluation looks at is not decoded.

    Args:
        only_jpegs: bool, whether it is known that the bytes are a JPEG, which saves asking.
    """
    sides, channels = image_shape[:2], image_shape[2]

    def jpeg():
        size = tf.io.extract_jpeg_shape(data)[:2]
        target, corner = augment.evaluation_part(size, image_shape, resize_to)
        needed = tf.minimum(size, augment.looked_at(size, target, corner, sides) + SPARE_PIXELS)
        image = tf.io.decode_and_crop_jpeg(data, tf.concat([[0, 0], needed], axis=0), channels=channels)
        return tf.round(augment.resize_and_cut(image, target, corner, sides, size))

    def another_kind():
        return augment.evaluation_pixels(decode(data, channels), image_shape, resize_to)

    return jpeg() if only_jpegs else tf.cond(tf.io.is_jpeg(data), jpeg, another_kind)


def random_resized_crop(data, heights, widths, place, mirrored, image_shape, only_jpegs=False):
    """`augment.random_resized_crop` of an image still encoded, mirrored left to right if asked; float32.

    Of a JPEG the crop alone is decoded, where it is at least twice as large as the result at a half, a quarter or an
    eighth of its size. The rest is a plain bilinear resize by a factor below two, which skips no pixel; antialiasing
    would take as long as the decoding. Against decoding and antialiasing all of it, pixels differ by a few grey levels.

    Args:
        data: bytes, scalar string.
        heights, widths, place: as in `augment.crop_window`.
        mirrored: bool scalar.
        image_shape: `(height, width, channels)`.
        only_jpegs: bool, whether it is known that the bytes are a JPEG, which saves asking.
    """
    height, width, channels = image_shape
    if only_jpegs:
        is_jpeg, size = True, tf.io.extract_jpeg_shape(data)[:2]
    else:
        is_jpeg = tf.io.is_jpeg(data)
        size = tf.cond(
            is_jpeg, lambda: tf.io.extract_jpeg_shape(data)[:2], lambda: tf.shape(decode(data, channels))[:2]
        )
    window = augment.crop_window(size, heights, widths, place)

    def decode_at(ratio):
        return lambda: tf.io.decode_and_crop_jpeg(data, window // ratio, channels=channels, ratio=ratio)

    def shrink_another_kind():
        top, left, rows, columns = tf.unstack(window)
        part = decode(data, channels)[top : top + rows, left : left + columns]
        return tf.cast(tf.round(augment.resize_and_cut(part, (height, width), (0, 0), (height, width))), tf.uint8)

    reduction = tf.reduce_min(window[2:] // (height, width))
    smaller = tf.reduce_sum(tf.cast(reduction >= JPEG_RATIOS[1:], tf.int32))
    branches = [*map(decode_at, JPEG_RATIOS), shrink_another_kind]
    part = tf.switch_case(smaller if only_jpegs else tf.where(is_jpeg, smaller, len(JPEG_RATIOS)), branches)
    part = tf.cast(part, tf.float32)  # resized faster than bytes
    image = tf.raw_ops.ResizeBilinear(images=part[None], size=(height, width), half_pixel_centers=True)[0]
    image = tf.reverse(image, tf.ones((tf.cast(mirrored, tf.int32),), tf.int32))  # no axis at all copies nothing
    return tf.ensure_shape(image, image_shape)
