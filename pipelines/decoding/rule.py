"""What may be asked of the decoder."""

from __future__ import annotations

import dataclasses

# Decoded, 0.4 GB: more than the 108 million pixels of a phone's camera, less than a bomb.
DEFAULT_MAX_PIXELS = 2**27
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
USUAL = (b"\xff\xd8\xff", PNG_SIGNATURE)  # how a JPEG and a PNG begin
HEAD_BYTES = 8  # what tells them


@dataclasses.dataclass(frozen=True)
class Rule:
    """What may be asked of the decoder.

    Args:
        exif_orientation: whether an image is turned as its EXIF orientation says, which viewers do.
        max_pixels: an image of more pixels, by its header, is refused before it is decoded.
        only_usual: whether it is known that all images are JPEG or PNG: a stream of tf.data begins the sooner, the
            fewer operations it has.
    """

    exif_orientation: bool = True
    max_pixels: int = DEFAULT_MAX_PIXELS
    only_usual: bool = False


AS_VIEWERS_DO = Rule()
