"""From the bytes of one image file to pixels, decoding no more of a JPEG than is looked at."""

from __future__ import annotations

import tensorflow as tf

from pipelines import augment
from pipelines.decoding import jpeg, orientation
from pipelines.decoding.decoder import BYTES, decode
from pipelines.decoding.rule import AS_VIEWERS_DO, Rule
from pipelines.decoding.tracing import traced_once

JPEG_RATIOS = (1, 2, 4, 8)  # a JPEG decoder gives the image at these fractions of its size, at a fraction of the work
# A JPEG's colours are stored at half its size: the last column that is decoded lacks a neighbour.
SPARE_PIXELS = 2


def evaluation_pixels(data, image_shape, resize_to=None, rule: Rule = AS_VIEWERS_DO):
    """`augment.evaluation_pixels` of an image still encoded.

    Of an upright JPEG what lies below and right of the part that evaluation looks at is not decoded.
    """
    return _evaluation_pixels(data, tuple(image_shape), resize_to, rule)


@traced_once(BYTES)
def _evaluation_pixels(data, image_shape, resize_to, rule):
    sides, channels = image_shape[:2], image_shape[2]

    def of_jpeg():
        header = jpeg.read_header(data, rule)
        size = header.size
        is_whole = resize_to is None or tf.reduce_all(augment.middle(size)[2:] == size)

        def upper_left():
            target, corner = augment.evaluation_part(size, image_shape, resize_to)
            needed = tf.minimum(size, augment.looked_at(size, target, corner, sides) + SPARE_PIXELS)
            window = tf.concat([[0, 0], needed], axis=0)
            image = tf.io.decode_and_crop_jpeg(header.data, window, channels=channels, dct_method=jpeg.METHOD)
            return tf.round(augment.resize_and_cut(image, target, corner, sides, size))

        def whole():
            image = tf.ensure_shape(jpeg.decode_after(header, channels), (None, None, channels))
            return augment.evaluation_pixels(image, image_shape, resize_to)

        is_usual = (header.orientation == orientation.UPRIGHT) & (header.components < jpeg.INKS) & is_whole
        return tf.cond(is_usual, upper_left, whole)

    def of_another():
        return augment.evaluation_pixels(decode(data, channels, rule), image_shape, resize_to)

    return tf.cond(tf.io.is_jpeg(data), of_jpeg, of_another)


def random_resized_crop(data, heights, widths, place, mirrored, image_shape, rule: Rule = AS_VIEWERS_DO):
    """`augment.random_resized_crop` of an image still encoded, mirrored left to right if asked; float32.

    Of a JPEG the crop alone is decoded, where it is at least twice as large as the result at a half, a quarter or an
    eighth of its size. The rest is a plain bilinear resize by a factor below two, which skips no pixel; antialiasing
    would take as long as the decoding. Against decoding and antialiasing all of it, pixels differ by a few grey levels.

    Args:
        data: bytes, scalar string.
        heights, widths, place: as in `augment.crop_window`.
        mirrored: bool scalar.
        image_shape: `(height, width, channels)`.
    """
    return _random_resized_crop(data, heights, widths, place, mirrored, tuple(image_shape), rule)


@traced_once(
    BYTES, *[tf.TensorSpec((None,), tf.float32)] * 2, tf.TensorSpec((2,), tf.float32), tf.TensorSpec((), tf.bool)
)
def _random_resized_crop(data, heights, widths, place, mirrored, image_shape, rule):
    height, width, channels = image_shape

    def of_whole(image):
        window = augment.crop_window(tf.shape(image)[:2], heights, widths, place)
        top, left, rows, columns = tf.unstack(window)
        part = tf.ensure_shape(image[top : top + rows, left : left + columns], (None, None, channels))
        return tf.round(augment.resize_and_cut(part, (height, width), (0, 0), (height, width)))

    def of_jpeg():
        header = jpeg.read_header(data, rule)

        def window_alone():
            size = orientation.seen_size(header.size, header.orientation)
            window = augment.crop_window(size, heights, widths, place)
            reduction = tf.reduce_min(window[2:] // (height, width))
            window = orientation.stored_window(window, size, header.orientation)

            def decode_at(ratio):
                return lambda: tf.io.decode_and_crop_jpeg(
                    header.data, window // ratio, channels=channels, ratio=ratio, dct_method=jpeg.METHOD
                )

            smaller = tf.reduce_sum(tf.cast(reduction >= JPEG_RATIOS[1:], tf.int32))
            part = orientation.turn(tf.switch_case(smaller, list(map(decode_at, JPEG_RATIOS))), header.orientation)
            part = tf.cast(part, tf.float32)  # resized faster than bytes
            return tf.raw_ops.ResizeBilinear(images=part[None], size=(height, width), half_pixel_centers=True)[0]

        return tf.cond(
            header.components < jpeg.INKS, window_alone, lambda: of_whole(jpeg.decode_after(header, channels))
        )

    image = tf.cond(tf.io.is_jpeg(data), of_jpeg, lambda: of_whole(decode(data, channels, rule)))
    image = tf.reverse(image, tf.ones((tf.cast(mirrored, tf.int32),), tf.int32))  # no axis at all copies nothing
    return tf.ensure_shape(image, image_shape)
