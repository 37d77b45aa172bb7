"""Why an image is not taken, in words; a reason completes "it is ..."."""

from __future__ import annotations

HEAD_BYTES = 16
DAMAGED = "damaged or cut short"
WAY_OUT = "convert it to PNG or JPEG"
NO_IMAGE = "no JPEG, PNG, GIF, BMP or WebP image"
# Position, first bytes, name: what people have, and what is refused by its name.
FOREIGN = (
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (0, b"II+\0", "a TIFF image"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftypavis", "an AVIF image"),
    (4, b"ftyp", "a HEIC image or a video"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"%PDF", "a PDF file"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"qoif", "a QOI image"),
)


def too_large(width, height, limit: int) -> str:
    """The reason for an image of too many pixels; width and height as text or numbers."""
    return f"too large: {width} x {height} pixels, more than {limit:,} (`max_pixels`)"


def foreign(head: bytes) -> str:
    """What a file is that begins with none of the signatures of what is read."""
    if not head:
        return "empty"
    for at, sign, name in FOREIGN:
        if head[at : at + len(sign)] == sign:
            return not_supported(name)
    return NO_IMAGE


def not_supported(name: str) -> str:
    """The reason for a kind of file that could be converted."""
    return f"{name}, which is not supported: {WAY_OUT}"
