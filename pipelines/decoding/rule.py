"""What may be asked of the decoder."""

from __future__ import annotations

import dataclasses

# Decoded, 0.4 GB: more than the 108 million pixels of a phone's camera, less than a bomb.
DEFAULT_MAX_PIXELS = 2**27


@dataclasses.dataclass(frozen=True)
class Rule:
    """What may be asked of the decoder.

    Args:
        exif_orientation: whether an image is turned as its EXIF orientation says, which viewers do.
        max_pixels: an image of more pixels, by its header, is refused before it is decoded.
    """

    exif_orientation: bool = True
    max_pixels: int = DEFAULT_MAX_PIXELS


AS_VIEWERS_DO = Rule()
