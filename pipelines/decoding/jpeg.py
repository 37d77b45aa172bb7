"""JPEG: its header, and its pixels."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from pipelines.decoding import orientation
from pipelines.decoding.colours import grey
from pipelines.decoding.octets import length, numbers, part
from pipelines.decoding.refusal import require_pixels

# As Pillow and most viewers: TensorFlow's default differs by up to 4 grey levels, and is no faster.
METHOD = "INTEGER_ACCURATE"
INKS = 4  # components of a CMYK or YCCK file
# TensorFlow inverts the inks of a file with Adobe's marker alone, viewers and Pillow those of all.
ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
EXIF = b"Exif\0\0"


@dataclasses.dataclass(frozen=True)
class Header:
    """What a JPEG says of itself.

    Args:
        data: its bytes, which may be decoded.
        size: `(2,)` int32, height and width of the stored image.
        components: int32, 1, 3 or 4.
        orientation: int32, 1..8.
    """

    data: tf.Tensor
    size: tf.Tensor
    components: tf.Tensor
    orientation: tf.Tensor


def read_header(data, rule) -> Header:
    """The header of a JPEG. Raises InvalidArgumentError: if it is damaged or the image too large."""
    shape = tf.io.extract_jpeg_shape(data)
    data = require_pixels(data, shape[0], shape[1], rule)
    upright = tf.constant(orientation.UPRIGHT)
    if rule.exif_orientation:  # to look for the letters takes less time than to walk over all segments
        has_exif = tf.strings.regex_full_match(data, rb"\C*Exif\x00\x00\C*")
        upright = tf.cond(has_exif, lambda: _orientation(data), lambda: upright)
    return Header(data, shape[:2], shape[2], upright)


def _orientation(data):
    end, none = length(data), tf.zeros((), tf.int64)

    def is_open(at, found, _):
        return (found == 0) & (at + 10 <= end)

    def step(at, found, size):
        """A segment is 0xFF, a letter, its length, its content; 0xFF may stand there more than once."""
        start, letter, upper, lower = tf.unstack(numbers(data, at, 4, tf.uint8))
        size = 256 * upper + lower
        is_last = (start != 0xFF) | (letter == 0xDA) | (letter == 0xD9)
        is_it = (start == 0xFF) & (letter == 0xE1) & (part(data, at + 4, 6) == EXIF)
        behind = tf.where(letter == 0xFF, at + 1, tf.where(is_last, end, at + 2 + size))
        return behind, tf.where(is_it, at + 10, none), size - 8

    _, found, size = tf.while_loop(is_open, step, (none + 2, none, none), parallel_iterations=1)
    return orientation.in_exif(part(data, found, tf.where(found > 0, size, none)))


def decode(data, channels, rule):
    """The picture, uint8 `(h, w, channels)`."""
    return decode_after(read_header(data, rule), channels)


def decode_after(header: Header, channels):
    """`decode` of an image whose header has been read."""
    data = header.data

    def inked():
        marked = tf.strings.regex_full_match(data, rb"\C*\x00\x0eAdobe\C*")
        completed = tf.cond(marked, lambda: data, lambda: part(data, 0, 2) + ADOBE + part(data, 2, length(data)))
        image = tf.io.decode_jpeg(completed, channels=3, dct_method=METHOD)
        return grey(image) if channels == 1 else image

    def usual():
        return tf.io.decode_jpeg(data, channels=channels, dct_method=METHOD)

    return orientation.turn(tf.cond(header.components == INKS, inked, usual), header.orientation)
