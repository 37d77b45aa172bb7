"""What image files say of themselves before they are decoded: their sizes, and what is not supported.

Each `check_*` raises `Refused` for a file that the decoder must not see.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from pipelines.decoding.reasons import DAMAGED, WAY_OUT, too_large

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # letters of JPEG's frame headers
SCAN, END = 0xDA, 0xD9
BMP_CORE = 12
BMP_HEADERS = (BMP_CORE, 40, 52, 56, 64, 108, 124)
BMP_DEPTHS = (1, 4, 8, 16, 24, 32)
BMP_PLAIN, BMP_RUN_LENGTHS, BMP_MASKS = 0, (1, 2), (3, 6)


class Refused(ValueError):
    """An image that is not taken; its text is the reason, which completes "it is ..."."""


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Raises: Refused: if an image of this size may not be decoded."""
    if height <= 0 or width <= 0:
        raise Refused(DAMAGED)
    if height * width > max_pixels:
        raise Refused(too_large(width, height, max_pixels))


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The letter and the content of each segment of a JPEG before its first scan."""
    at = 2
    while at + 4 <= len(data):
        start, letter, size = struct.unpack_from(">BBH", data, at)
        if start != 0xFF or letter in (SCAN, END):
            return
        if letter == 0xFF:  # may stand before a letter more than once
            at += 1
            continue
        yield letter, data[at + 4 : at + 2 + size]
        at += 2 + max(size, 2)


def jpeg_frame(found) -> tuple[int, int, int]:
    """Height, width and number of components, from a JPEG's segments. Raises: Refused: if no frame is among them."""
    for letter, content in found:
        if letter in FRAMES and len(content) >= 6:
            return struct.unpack_from(">HHB", content, 1)
    raise Refused(DAMAGED)


def check_png(data: bytes, max_pixels: int) -> None:
    """Its size, and that its chunks are all there. Pillow shows one that ends behind the last pixel, or before."""
    if len(data) < 24:
        raise Refused(DAMAGED)
    width, height = struct.unpack_from(">ii", data, 16)
    check_size(height, width, max_pixels)
    at, name = 8, b""
    while name != b"IEND":
        if at + 12 > len(data):
            raise Refused(DAMAGED)
        size, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + size
        if end + 4 > len(data) or (
            name[:1].isupper() and zlib.crc32(data[at + 4 : end]) != _number(data[end : end + 4])
        ):
            raise Refused(DAMAGED)
        at = end + 4


def _number(data):
    return int.from_bytes(data, "big")


def png_exif(data: bytes) -> bytes:
    """The content of the first eXIf chunk, wherever it stands; empty if there is none."""
    if b"eXIf" not in data:
        return b""
    return _chunk(data, 8, b"eXIf", ">")


def check_gif(data: bytes, max_pixels: int) -> None:
    """The first frame, and the canvas that has room for it."""
    if len(data) < 13:
        raise Refused(DAMAGED)
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = _first_picture(data, 13 + _palette_bytes(flags))
    if at + 11 >= len(data):
        raise Refused(DAMAGED)
    left, top, columns, rows = struct.unpack_from("<HHHH", data, at + 1)
    check_size(rows, columns, max_pixels)
    check_size(max(height, top + rows), max(width, left + columns), max_pixels)


def _palette_bytes(flags):
    return 3 * 2 ** (flags % 8 + 1) if flags >= 128 else 0


def _first_picture(data, at):
    """Where the first picture's descriptor is, or the end of the file."""
    end = len(data)
    while at < end and data[at : at + 1] != b",":
        if data[at : at + 1] == b"!":
            at += 2
            while at < end and data[at]:  # blocks, each its length and content, up to one of length 0
                at += data[at] + 1
            at += 1
        else:
            at = end if data[at : at + 1] == b";" else at + 1
    return at


def check_bmp(data: bytes, max_pixels: int) -> None:
    """Uncompressed ones alone."""
    head = data[14:34].ljust(20, b"\0")
    (header,) = struct.unpack_from("<I", head)
    if len(data) < 18 or header not in BMP_HEADERS:
        raise Refused(DAMAGED)
    if header == BMP_CORE:
        width, height, _, bits = struct.unpack_from("<HHHH", head, 4)
        compression = BMP_PLAIN
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", head, 4)
    if bits not in BMP_DEPTHS:
        raise Refused(DAMAGED)
    if compression in BMP_RUN_LENGTHS:
        raise Refused(f"a BMP of run lengths, not supported: {WAY_OUT}")
    if compression != BMP_PLAIN and not (compression in BMP_MASKS and bits >= 16):
        raise Refused(f"a BMP of a rare kind, not supported: {WAY_OUT}")
    check_size(abs(height), width, max_pixels)


def check_webp(data: bytes, max_pixels: int) -> None:
    """The canvas, and of an animation the first frame: the decoder's memory is as large as they say."""
    height, width = _webp_size(data)
    if _is_extended(data) and data[20] // 2 % 2:
        frame = _chunk(data, 12, b"ANMF", "<")
        if len(frame) <= 24:
            raise Refused(DAMAGED)
        sides = [1 + int.from_bytes(frame[k : k + 3], "little") for k in (9, 6)]
        check_size(*sides, max_pixels)
    check_size(height, width, max_pixels)


def webp_exif(data: bytes) -> bytes:
    """The content of the EXIF chunk of an extended file; empty if there is none."""
    if not _is_extended(data) or b"EXIF" not in data:
        return b""
    return _chunk(data, 12, b"EXIF", "<").removeprefix(b"Exif\0\0")


def _is_extended(data):
    return data[12:16] == b"VP8X"


def _webp_size(data):
    """Height and width by the header: of a frame 14 bits a side, of an extended file 24, less one."""
    if len(data) < 30:
        raise Refused(DAMAGED)
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits >> 14) % 2**14, 1 + bits % 2**14
    if _is_extended(data):
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    width, height = struct.unpack_from("<HH", data, 26)
    return height % 2**14, width % 2**14


def _chunk(data, at, name, order):
    """The content of the first chunk of a name: PNG's (order ">") or RIFF's ("<"); empty if there is none."""
    while at + 8 <= len(data):
        size_at, name_at = (at, at + 4) if order == ">" else (at + 4, at)
        size = max(struct.unpack_from(order + "i", data, size_at)[0], 0)
        if data[name_at : name_at + 4] == name:
            return data[at + 8 : at + 8 + size]
        at += 12 + size if order == ">" else 8 + size + size % 2
    return b""
