"""Stateless image operations: the same arguments and seed always give the same pixels, eagerly and in tf.data.

The `random_*` operations take a `seed`, an integer tensor of shape `(2,)`, as `tf.random.stateless_uniform` does;
they draw the choices and hand them to a deterministic operation that a test can call with choices of its own.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What is done to a training image, as data.

    Args:
        padding: pixels added on every side before a crop of the original size; 0 for no shift.
        mode: "REFLECT" or "CONSTANT" (zeros), how `padding` is filled.
        flip: whether half of the images are mirrored left to right.
        resized_crop: crop a random area and aspect ratio and scale it to the image shape (ImageNet), before the flip.
    """

    padding: int = 0
    mode: str = "REFLECT"
    flip: bool = False
    resized_crop: bool = False


AUGMENTATIONS = {
    "none": Augmentation(),
    "flip": Augmentation(flip=True),
    "cifar": Augmentation(padding=4, flip=True),  # arXiv:1706.00388, section 3.1
    "digits": Augmentation(padding=1, mode="CONSTANT"),  # a mirrored digit is another sign: no flip
    "mnist": Augmentation(padding=2, mode="CONSTANT"),
    "fashion": Augmentation(padding=2, mode="CONSTANT", flip=True),
    "imagenet": Augmentation(resized_crop=True, flip=True),  # arXiv:1706.00388, section 3.3
}


def normalize(images, mean, std):
    """Return `(images - mean) / std` as float32, per channel.

    Args:
        images: `(..., channels)`, any numeric type, in 0..255.
        mean, std: one number per channel, in the same 0..255 units.
    """
    scale = tf.constant([1.0 / s for s in std], tf.float32)
    offset = tf.constant([-m / s for m, s in zip(mean, std, strict=True)], tf.float32)
    return tf.cast(images, tf.float32) * scale + offset


def to_uint8(images):
    """Round to the nearest integer and clip to 0..255."""
    return tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.uint8)


def resize(images, height, width):
    """Bilinear resize with antialiasing, `(..., h, w, c)` to float32 `(..., height, width, c)`; a copy if sizes agree."""
    if images.shape[-3:-1] == (height, width):
        return tf.cast(images, tf.float32)
    return tf.image.resize(images, (height, width), antialias=True)


def resize_shorter_side(image, size):
    """Scale `(h, w, c)` so that its shorter side has `size` pixels, keeping the aspect ratio; float32."""
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    scale = tf.cast(size, tf.float32) / tf.minimum(height, width)
    target = tf.maximum(tf.cast(tf.round(tf.stack([height, width]) * scale), tf.int32), size)
    return tf.image.resize(image, target, antialias=True)


def center_crop(image, height, width):
    """Cut the middle `(height, width)` out of `(h, w, c)`; where the rest is odd, the extra pixel is below or right."""
    size = tf.shape(image)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return image[top : top + height, left : left + width]


def evaluation_view(image, image_shape, resize_to=None):
    """What evaluation sees of an image: shorter side to `resize_to`, centre crop, uint8.

    Args:
        image: `(h, w, c)` of any size.
        image_shape: `(height, width, channels)` of the result.
        resize_to: pixels, at least the larger of height and width; None scales straight to `image_shape`.
    """
    height, width, channels = image_shape
    if resize_to is None:
        image = tf.image.resize(image, (height, width), antialias=True)
    else:
        image = center_crop(resize_shorter_side(image, resize_to), height, width)
    return tf.ensure_shape(to_uint8(image), (height, width, channels))


def shift_and_flip(images, rows, columns, flips, padding, mode="REFLECT"):
    """Pad, cut a window of the original size out of each image, and mirror some.

    One `crop_and_resize` at scale 1 does crop, mirror (a box given right to left) and the cast to float together;
    on two cores it is the fastest of the forms tried (see `benchmarks` in the project's docs).

    Args:
        images: `(batch, h, w, c)` uint8.
        rows, columns: `(batch,)` integers in 0..2 * padding, the window's top left corner in the padded image.
        flips: `(batch,)` bool, which images are mirrored left to right after the crop.
        padding, mode: as in `Augmentation`.
    Returns: `(batch, h, w, c)` float32 holding the exact pixel values.
    """
    batch, (height, width) = tf.shape(images)[0], images.shape[1:3]
    if padding:
        images = tf.pad(images, [[0, 0], [padding, padding], [padding, padding], [0, 0]], mode)
    flips = tf.cast(flips, tf.bool)
    top, left = tf.cast(rows, tf.float32), tf.cast(columns, tf.float32)
    right = left + (width - 1)
    top, bottom = tf.unstack(_inside(tf.stack([top, top + (height - 1)]), height + 2 * padding))
    first, last = tf.unstack(_inside(tf.stack([tf.where(flips, right, left), tf.where(flips, left, right)]), width + 2 * padding))
    boxes = tf.stack([top, first, bottom, last], axis=1)  # (batch, 4)
    return tf.image.crop_and_resize(images, boxes, tf.range(batch), (height, width), method="nearest")


def _inside(pixels, size):
    """Pixel positions as fractions of `size - 1`, drawn towards the centre by up to 0.05 pixel.

    "nearest" rounds the shift away. Without it, float error puts border pixels outside the image, where
    crop_and_resize writes zeros.
    """
    centre = (size - 1) / 2
    return (centre + (pixels - centre) * (1 - 0.1 / size)) / max(size - 1, 1)


def random_shift_and_flip(images, seed, padding=4, mode="REFLECT", flip=True):
    """Pad-crop(-flip) with each image's window and mirroring drawn from `seed`; float32, see `shift_and_flip`."""
    batch = tf.shape(images)[0]
    row_seed, column_seed, flip_seed = tf.unstack(tf.random.split(seed, 3))
    rows = tf.random.stateless_uniform([batch], row_seed, 0, 2 * padding + 1, tf.int32)
    columns = tf.random.stateless_uniform([batch], column_seed, 0, 2 * padding + 1, tf.int32)
    flips = tf.random.stateless_uniform([batch], flip_seed, 0, 2, tf.int32) if flip else tf.zeros([batch], tf.int32)
    return shift_and_flip(images, rows, columns, flips, padding, mode)


def random_resized_crop(image, seed, image_shape, area=(0.08, 1.0), aspect=(3 / 4, 4 / 3), attempts=10):
    """Cut a random part of one image and scale it to `image_shape`; float32 (Szegedy et al., arXiv:1409.4842, section 6).

    Args:
        image: `(h, w, c)`.
        seed: `(2,)` integers.
        image_shape: `(height, width, channels)` of the result.
        area: the part's share of the image, drawn evenly.
        aspect: width over height, drawn evenly on a log scale.
        attempts: draws; the first that lies inside the image is taken, else the largest centred square.
    """
    size = tf.shape(image)
    height, width = tf.cast(size[0], tf.float32), tf.cast(size[1], tf.float32)
    area_seed, aspect_seed, place_seed = tf.unstack(tf.random.split(seed, 3))
    areas = height * width * tf.random.stateless_uniform([attempts], area_seed, *area)
    ratios = tf.exp(tf.random.stateless_uniform([attempts], aspect_seed, *map(math.log, aspect)))
    heights = tf.cast(tf.round(tf.sqrt(areas / ratios)), tf.int32)  # (attempts,)
    widths = tf.cast(tf.round(tf.sqrt(areas * ratios)), tf.int32)
    fits = (heights <= size[0]) & (widths <= size[1]) & (heights > 0) & (widths > 0)
    chosen = tf.argmax(tf.cast(fits, tf.int32))  # the first that fits; 0 where none does
    square = tf.minimum(size[0], size[1])
    found = tf.reduce_any(fits)
    crop_height = tf.where(found, heights[chosen], square)
    crop_width = tf.where(found, widths[chosen], square)
    free = tf.cast(tf.stack([size[0] - crop_height, size[1] - crop_width]), tf.float32)
    place = tf.where(found, tf.random.stateless_uniform([2], place_seed), 0.5)
    top, left = tf.unstack(tf.cast(tf.floor(place * (free + tf.where(found, 1.0, 0.0))), tf.int32))
    crop = image[top : top + crop_height, left : left + crop_width]
    return tf.ensure_shape(tf.image.resize(crop, image_shape[:2]), image_shape)


def random_flip(image, seed):
    """Mirror `(h, w, c)` left to right with probability one half."""
    return tf.cond(
        tf.random.stateless_uniform([], seed, 0, 2, tf.int32) == 1, lambda: image[:, ::-1], lambda: tf.identity(image)
    )


def augment_batch(images, seed, augmentation):
    """Apply `augmentation` (without `resized_crop`) to uint8 `(batch, h, w, c)`; float32 in 0..255."""
    if augmentation.padding or augmentation.flip:
        return random_shift_and_flip(images, seed, augmentation.padding, augmentation.mode, augmentation.flip)
    return tf.cast(images, tf.float32)
