"""From the bytes of one image file to pixels, decoding no more of a JPEG than is looked at."""

from __future__ import annotations

import tensorflow as tf

from pipelines import augment


def decode(data, channels):
    """JPEG, PNG, GIF (first frame), BMP or WebP bytes to uint8 `(h, w, channels)`.

    What the bytes are is read off them: a name does not count. A CMYK or YCCK JPEG becomes RGB.
    """
    image = tf.io.decode_image(data, channels=channels, expand_animations=False)
    image.set_shape((None, None, channels))
    return image


def random_resized_crop(data, heights, widths, place, mirrored, image_shape):
    """`augment.random_resized_crop` of an image still encoded, mirrored left to right if asked; float32.

    Of a JPEG, the crop alone is decoded. Where colours are stored at half the resolution, the crop's outermost
    columns may differ by a few grey levels from those of the image decoded whole: their neighbours are not looked at.

    Args:
        data: bytes, scalar string.
        heights, widths, place: as in `augment.crop_window`.
        mirrored: bool scalar.
        image_shape: `(height, width, channels)`.
    """
    channels = image_shape[2]

    def of_jpeg():
        window = augment.crop_window(tf.io.extract_jpeg_shape(data)[:2], heights, widths, place)
        return tf.io.decode_and_crop_jpeg(data, window, channels=channels)

    def of_another_kind():
        image = decode(data, channels)
        top, left, height, width = tf.unstack(augment.crop_window(tf.shape(image)[:2], heights, widths, place))
        return image[top : top + height, left : left + width]

    part = tf.cond(tf.io.is_jpeg(data), of_jpeg, of_another_kind)
    part = tf.ensure_shape(part, (None, None, channels))
    return augment.resize_and_cut(part, image_shape[:2], (0, 0), image_shape[:2], mirrored)


def evaluation_pixels(data, image_shape, resize_to=None):
    """`augment.evaluation_pixels` of an image still encoded.

    All of it is decoded: of a JPEG's window, the outermost columns would differ.
    """
    return augment.evaluation_pixels(decode(data, image_shape[2]), image_shape, resize_to)
