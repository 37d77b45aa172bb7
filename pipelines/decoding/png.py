"""PNG."""

from __future__ import annotations

import tensorflow as tf

from pipelines.decoding import orientation
from pipelines.decoding.octets import find_chunk, number, octets
from pipelines.decoding.refusal import require_pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode(data, rule):
    """The picture, uint8 `(h, w, 3)`, without its transparency; of 16 bits the upper eight."""
    head = octets(data, 24)
    data = require_pixels(data, number(head, 20, 4, big_endian=True), number(head, 16, 4, big_endian=True), rule)
    image = tf.io.decode_png(data, channels=3)
    if not rule.exif_orientation:
        return image

    def turned():
        start, stop = find_chunk(data, len(SIGNATURE), b"eXIf", big_endian=True)
        return orientation.turn(image, orientation.in_exif(octets(data)[start:stop]))

    return tf.cond(tf.strings.regex_full_match(data, rb"\C*eXIf\C*"), turned, lambda: image)
