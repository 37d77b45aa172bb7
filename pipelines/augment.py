"""Stateless image operations: the same arguments and seed give the same pixels, eagerly and in tf.data.

The `random_*` operations take a `seed`, an integer tensor of shape `(2,)`, as `tf.random.stateless_uniform`
does; those on batches draw the choices and hand them to a deterministic operation that tests call directly.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

# The first and the last: where they stood before there was a module of them without TensorFlow.
from pipelines.augmentation import (  # noqa: F401
    AUGMENTATIONS,
    CROP_AREA,
    CROP_ASPECT,
    CROP_ATTEMPTS,
    Augmentation,
)


def normalize(images, mean, std):
    """Return `(images - mean) / std` as float32, per channel.

    Args:
        images: `(..., channels)`, any numeric type, in 0..255.
        mean, std: one number per channel, in the same 0..255 units.
    """
    scale = [1.0 / s for s in std]
    offset = [-m / s for m, s in zip(mean, std, strict=True)]
    images = tf.cast(images, tf.float32)
    width, channels = images.shape[-2:]
    if not width or channels != len(scale):
        return images * tf.constant(scale) + tf.constant(offset)
    # TensorFlow multiplies by a row of all columns' channels several times faster than by one of 3 numbers.
    rows = tf.reshape(images, (-1, width * channels))
    return tf.reshape(rows * tf.constant(scale * width) + tf.constant(offset * width), tf.shape(images))


def to_uint8(images):
    """Round to the nearest integer and clip to 0..255."""
    return tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.uint8)


def resize(images, height, width):
    """Bilinear resize with antialiasing: `(..., h, w, c)` to float32 `(..., height, width, c)`."""
    if images.shape[-3:-1] == (height, width):
        return tf.cast(images, tf.float32)
    return tf.image.resize(images, (height, width), antialias=True)


def resize_and_cut(image, target, corner, size, whole=None):
    """Bilinear resize with antialiasing, of which only a part is computed; float32.

    The same floats as `tf.image.resize(image, target, antialias=True)` cut to the part, in a third of the time and on
    the calling thread alone. TensorFlow's operation is fast along columns of many channels, so each pass takes the
    other side of the image as channels, with a transposition between them.

    Args:
        image: `(h, w, c)`, c static.
        target: two integers, the height and width that the whole image is scaled to.
        corner: two integers, top and left of the part.
        size: `(height, width)` of the part, static.
        whole: two integers, the size of the image if `image` is its upper left alone, see `looked_at`.
    """
    height, width = size
    channels = image.shape[-1]
    whole = tf.shape(image)[:2] if whole is None else whole
    scale = tf.cast(target, tf.float32) / tf.cast(whole, tf.float32)
    columns = tf.shape(image)[1]
    rows = tf.reshape(image, (-1, columns * channels))
    rows = _resize_rows(rows, scale[0], corner[0], height)  # (height, w c)
    rows = tf.reshape(_transposed(rows), (columns, channels * height))
    rows = _resize_rows(rows, scale[1], corner[1], width)  # (width, c height)
    return tf.reshape(_transposed(tf.reshape(rows, (width * channels, height))), (height, width, channels))


def _resize_rows(rows, scale, first, count):
    """Scale `(h, n)` by a factor along h, n columns of pixels each on its own; `(count, n)` from row `first` on.

    One row of h pixels with n channels: TensorFlow would spread h rows over all cores, and threads that have an image
    each would wait for each other.
    """
    result = tf.raw_ops.ScaleAndTranslate(
        images=rows[None, None], size=tf.stack([1, first + count]), scale=tf.stack([1.0, scale]),
        translation=[0.0, 0.0], kernel_type="triangle", antialias=True,
    )  # fmt: skip
    return tf.reshape(result, (first + count, -1))[first:]


def _transposed(matrix):
    """A float32 matrix with its sides exchanged.

    As integers, which are the calling thread's work: floats are oneDNN's, which spreads them over all cores.
    """
    return tf.bitcast(tf.transpose(tf.bitcast(matrix, tf.int32)), tf.float32)


def looked_at(whole, target, corner, size):
    """Height and width of the upper left of an image that `resize_and_cut` needs for a part; arguments as there."""
    factor = tf.cast(whole, tf.float32) / tf.cast(target, tf.float32)
    end = tf.cast(tf.add(corner, size), tf.float32) * factor
    # From its last position, before `end`, the kernel reaches a step further, or one pixel if that is more.
    return tf.minimum(whole, tf.cast(tf.math.ceil(end + tf.maximum(factor, 1.0)), tf.int32))


def shorter_side_target(size, shorter):
    """Height and width of an image of `size` `(2,)` once its shorter side has `shorter` pixels, aspect kept."""
    size = tf.cast(size, tf.float32)
    return tf.maximum(tf.cast(tf.round(size * (tf.cast(shorter, tf.float32) / tf.reduce_min(size))), tf.int32), shorter)


# A longer image is cut to its middle before it is scaled. With the shorter side at 256 the result takes 12 MB; all of
# an image of 1 x 2500 pixels would take 1.9 GB, of which evaluation looks at 0.03 %.
LARGEST_ASPECT = 16


def middle(size):
    """Of an image of `size` `(2,)` the part that evaluation scales: `(top, left, height, width)`, int32."""
    sides = tf.minimum(size, LARGEST_ASPECT * tf.reduce_min(size))
    sides -= (size - sides) % 2 * tf.cast(sides > 1, tf.int32)  # the middle stays where it is
    return tf.concat([(size - sides) // 2, sides], axis=0)


def evaluation_pixels(image, image_shape, resize_to=None):
    """`evaluation_view` as whole numbers in float32."""
    image = tf.ensure_shape(image, (None, None, image_shape[2]))
    if resize_to is not None:
        top, left, height, width = tf.unstack(middle(tf.shape(image)[:2]))
        image = image[top : top + height, left : left + width]
    size = tf.shape(image)[:2]
    # Weights of at least 0 and sum 1 cannot leave 0..255.
    return tf.round(resize_and_cut(image, *evaluation_part(size, image_shape, resize_to), image_shape[:2]))


def evaluation_part(size, image_shape, resize_to=None):
    """Where evaluation looks: what an image of `size` `(2,)` is scaled to, and the corner of the part; both `(2,)`."""
    sides = tf.constant(image_shape[:2])
    if resize_to is None:
        return sides, tf.zeros_like(sides)
    target = shorter_side_target(size, resize_to)
    return target, (target - sides) // 2  # an odd rest leaves more below or right


def evaluation_view(image, image_shape, resize_to=None):
    """What evaluation sees of an image: shorter side to `resize_to`, centre crop, uint8.

    Args:
        image: `(h, w, c)` of any size.
        image_shape: `(height, width, channels)` of the result.
        resize_to: pixels, at least the larger of height and width; None scales straight to `image_shape`.
    """
    return tf.cast(evaluation_pixels(image, image_shape, resize_to), tf.uint8)


def shift_and_flip(images, rows, columns, flips, padding, mode="REFLECT"):
    """Pad, cut a window of the original size out of each image, and mirror some.

    Padding, crop and mirroring are one gather of pixels; nothing is padded for "REFLECT". With 32x32x3 images
    the training stream takes a third of the processor time it takes with pad and `crop_and_resize`, and a
    fifth of that with pad and slice image by image.

    Args:
        images: `(batch, h, w, c)`.
        rows, columns: `(batch,)` integers in 0..2 * padding, the window's corner in the padded image.
        flips: `(batch,)` bool, which images are mirrored left to right after the crop.
        padding, mode: as in `Augmentation`.
    Returns: `(batch, h, w, c)` of the type of `images`.
    """
    height, width, channels = images.shape[1:]
    y = rows[:, None] + tf.range(height)  # (batch, h), in the padded image
    x = tf.range(width)
    x = columns[:, None] + tf.where(tf.cast(flips, tf.bool)[:, None], width - 1 - x, x)  # (batch, w)
    if mode == "REFLECT":
        y, x = _reflect(y - padding, height), _reflect(x - padding, width)
    else:
        images = tf.pad(images, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
        height, width = height + 2 * padding, width + 2 * padding
    image = tf.range(tf.shape(images)[0])[:, None, None]
    pixels = (image * height + y[:, :, None]) * width + x[:, None, :]  # (batch, h, w)
    return tf.gather(tf.reshape(images, (-1, channels)), pixels)


def _reflect(positions, size):
    """Positions up to `size - 1` outside 0..size - 1, mirrored at the border pixels."""
    return size - 1 - tf.abs(size - 1 - tf.abs(positions))


def random_shift_and_flip(images, seed, padding=4, mode="REFLECT", flip=True, flips=None):
    """`shift_and_flip` with each image's window and mirroring drawn from `seed`; `flips` given are not drawn."""
    batch = tf.shape(images)[0]
    row_seed, column_seed, flip_seed = tf.unstack(tf.random.split(seed, 3))
    rows = tf.random.stateless_uniform([batch], row_seed, 0, 2 * padding + 1, tf.int32)
    columns = tf.random.stateless_uniform([batch], column_seed, 0, 2 * padding + 1, tf.int32)
    if flips is None:
        flips = tf.random.stateless_uniform([batch], flip_seed, 0, 2 if flip else 1, tf.int32)
    return shift_and_flip(images, rows, columns, flips, padding, mode)


@dataclasses.dataclass(frozen=True)
class CropDraws:
    """What chance says about the crops of `n` images, before their sizes are known.

    Args:
        heights, widths: `(n, attempts)`, sides of the proposed crops, in units of the square root of the image's area.
        place: `(n, 2)` in [0, 1), where in the free rows and columns the crop lies.
    """

    heights: tf.Tensor
    widths: tf.Tensor
    place: tf.Tensor


def crop_draws(seed, count, area=CROP_AREA, aspect=CROP_ASPECT, attempts=CROP_ATTEMPTS):
    """`CropDraws`: area and place evenly, aspect ratio (width over height) evenly on a log scale."""
    area_seed, aspect_seed, place_seed = tf.unstack(tf.random.split(seed, 3))
    areas = tf.random.stateless_uniform([count, attempts], area_seed, *area)
    ratios = tf.exp(tf.random.stateless_uniform([count, attempts], aspect_seed, *map(math.log, aspect)))
    place = tf.random.stateless_uniform([count, 2], place_seed)
    return CropDraws(tf.sqrt(areas / ratios), tf.sqrt(areas * ratios), place)


def crop_window(size, heights, widths, place, aspect=CROP_ASPECT):
    """The window of a random resized crop as int32 `(top, left, height, width)`.

    Args:
        size: `(2,)` int32, the image's height and width.
        heights, widths: `(attempts,)`, as in `CropDraws`; the first pair that lies inside the image is taken, else the
            largest centred window with an aspect ratio within `aspect`.
        place: `(2,)`, as in `CropDraws`.
    Source: Szegedy et al. 2014, arXiv:1409.4842, section 6, in the form of torchvision's RandomResizedCrop.
    """
    sides = tf.cast(size, tf.float32)
    unit = tf.sqrt(sides[0] * sides[1])
    proposed = tf.cast(tf.round(tf.stack([heights, widths]) * unit), tf.int32)  # (2, attempts)
    fits = tf.reduce_all((proposed > 0) & (proposed <= size[:, None]), axis=0)
    found = tf.reduce_any(fits)
    largest = tf.cast(tf.round(sides[::-1] * (1 / aspect[0], aspect[1])), tf.int32)
    chosen = tf.where(found, proposed[:, tf.argmax(tf.cast(fits, tf.int32))], tf.minimum(size, largest))
    free = size - chosen
    at = tf.cast(place * tf.cast(free + 1, tf.float32), tf.int32)
    corner = tf.where(found, tf.minimum(at, free), free // 2)
    return tf.concat([corner, chosen], axis=0)


def random_resized_crop(image, seed, image_shape, area=CROP_AREA, aspect=CROP_ASPECT, attempts=CROP_ATTEMPTS):
    """Cut a random part of one image and scale it to `image_shape`; float32.

    Args:
        image: `(h, w, c)`.
        seed: `(2,)` integers.
        image_shape: `(height, width, channels)` of the result.
        area: the part's share of the image, drawn evenly.
        aspect: width over height, drawn evenly on a log scale.
        attempts: draws; see `crop_window`.
    """
    draws = crop_draws(seed, 1, area, aspect, attempts)
    window = crop_window(tf.shape(image)[:2], draws.heights[0], draws.widths[0], draws.place[0], aspect)
    top, left, height, width = tf.unstack(window)
    part = tf.ensure_shape(image[top : top + height, left : left + width], (None, None, image_shape[2]))
    return resize_and_cut(part, image_shape[:2], (0, 0), image_shape[:2])


def random_resized_crops(images, seed, image_shape):
    """`random_resized_crop` of every image of `(batch, h, w, c)`, each with a seed of its own."""
    seeds = tf.random.split(seed, tf.shape(images)[0])
    return tf.map_fn(
        lambda item: random_resized_crop(*item, image_shape), (images, seeds), fn_output_signature=tf.float32
    )


def augment_batch(images, seed, augmentation, flips=None):
    """Shift and flip `(batch, h, w, c)` as `augmentation` says; `resized_crop` is not done here.

    Args:
        flips: `(batch,)` bool, which images are mirrored where that is settled; None draws it from `seed`.
    """
    if augmentation.padding or augmentation.flip:
        return random_shift_and_flip(images, seed, augmentation.padding, augmentation.mode, augmentation.flip, flips)
    return images
