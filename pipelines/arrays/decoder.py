"""Any image file to pixels, by the rule of `pipelines.decoding`: the same are refused, the others have the same pixels.

JPEGs are decoded by libjpeg-turbo through simplejpeg, which says of one that it ends too early; Pillow fills it up in
silence. The rest is Pillow's, one class of it for each kind: it never guesses a kind, and its limit of pixels, one for
the whole process, is not in the way of ours. Of damaged GIFs, each of the two readers takes some that the other does
not.
"""

from __future__ import annotations

import functools
import io

import numpy as np

from pipelines.arrays import exif, headers
from pipelines.arrays.headers import Refused
from pipelines.decoding.reasons import DAMAGED, HEAD_BYTES, foreign
from pipelines.decoding.rule import AS_VIEWERS_DO, PNG_SIGNATURE, Rule
from pipelines.examples import DataError

JPEG_SIGNATURE = b"\xff\xd8\xff"
INKS = 4  # components of a CMYK or YCCK file
EXACT = {"fastdct": False, "fastupsample": False}  # as Pillow and most viewers decode
ENDS_EARLY = "Premature end of JPEG file"  # libjpeg-turbo's message
END_OF_JPEG = b"\xff\xd9"
FILLED_UP = b"\0\0\0"  # the last row of a BMP need not be, to four bytes
# ITU-R BT.601's weights in 65,536ths, as Pillow's `convert("L")` rounds.
RED, GREEN, BLUE, HALF = 19595, 38470, 7471, 32768


def decode(data: bytes, channels: int, rule: Rule = AS_VIEWERS_DO) -> np.ndarray:
    """JPEG, PNG, GIF, BMP or WebP bytes to uint8 `(h, w, channels)`; of an animation the first frame.

    Transparency is left out: the colours under it are shown. CMYK becomes RGB; channels=1 is the luminance.

    Args:
        channels: 3 (colour) or 1 (grey).
    Raises: Refused: if the image is not taken, with the reason.
    """
    if data.startswith(JPEG_SIGNATURE):
        return Jpeg(data, rule).decode(channels)
    return _decode_another(data, channels, rule)


def read(data: bytes, channels: int, rule: Rule = AS_VIEWERS_DO):
    """`decode`: `(pixels, None)`, or None and the reason, which completes "it is ..."."""
    try:
        return decode(data, channels, rule), None
    except Refused as refusal:
        return None, str(refusal)


def check_whole(data: bytes, rule: Rule) -> None:
    """Raises what `decode` raises. A JPEG is decoded at an eighth of its size, which reads all of its bytes."""
    if data.startswith(JPEG_SIGNATURE):
        Jpeg(data, rule).check_whole()
    else:
        _decode_another(data, 3, rule)


class Jpeg:
    """A JPEG whose header has been read.

    Attributes:
        size: height and width of the stored image.
        orientation: 1..8, what `exif.turn` takes.
        is_inked: whether it has four colours, CMYK or YCCK.

    Raises: Refused: if it is damaged or too large.
    """

    def __init__(self, data: bytes, rule: Rule):
        found = list(headers.segments(data))
        *self.size, components = headers.jpeg_frame(found)
        headers.check_size(*self.size, rule.max_pixels)
        self.data, self.is_inked = data, components == INKS
        self.start = 2 + sum(len(content) for _, content in found)  # its pixels begin behind that
        self.orientation = exif.in_jpeg(found) if rule.exif_orientation else exif.UPRIGHT

    def decode(self, channels: int) -> np.ndarray:
        """The picture, uint8 `(h, w, channels)`."""
        return exif.turn(self.stored(channels), self.orientation)

    def stored(self, channels: int, reduction: int = 1) -> np.ndarray:
        """The image as it is stored; `reduction` 2, 4 or 8: a half, a quarter or an eighth of its size, rounded up."""
        colours = "CMYK" if self.is_inked else "GRAY" if channels == 1 else "RGB"
        least = {}
        if reduction > 1:
            least = dict(zip(("min_height", "min_width"), (-(-side // reduction) for side in self.size), strict=True))
        pixels = self._turbo(colours, **least)
        if pixels is not None and not self.is_inked:
            return pixels
        image = _by_pillow(self.data, "JPEG", "L" if colours == "GRAY" else None)
        return _channels(image if reduction == 1 else image.reduce(reduction), channels)

    def check_whole(self) -> None:
        self.stored(3, 8)

    def _turbo(self, colours, **least):
        """Pixels; None where the file has a fault with which it can be shown, as a few of ImageNet's have, or colours
        at a rare share of its size: Pillow tells those from files that cannot be."""
        try:
            return _simplejpeg().decode_jpeg(self.data, colours, **EXACT, **least)
        except ValueError as error:
            if ENDS_EARLY in str(error) or END_OF_JPEG not in self.data[self.start :]:
                raise Refused(DAMAGED) from None
            return None


def _decode_another(data, channels, rule):
    kind, check, exif_of = _kind_of(data)
    check(data, rule.max_pixels)
    image = _channels(_by_pillow(data + FILLED_UP if kind == "BMP" else data, kind), channels)
    block = exif_of(data) if rule.exif_orientation else b""
    return exif.turn(image, exif.in_exif(block)) if block else image


def _kind_of(data):
    """Pillow's name of a kind, the check of its header, and what finds its EXIF block."""
    if data.startswith(PNG_SIGNATURE):
        return "PNG", headers.check_png, headers.png_exif
    if data.startswith(b"GIF8"):
        return "GIF", headers.check_gif, lambda _: b""
    if data.startswith(b"BM"):
        return "BMP", headers.check_bmp, lambda _: b""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP", headers.check_webp, headers.webp_exif
    raise Refused(foreign(data[:HEAD_BYTES]))


def _by_pillow(data, kind, draft=None):
    """A Pillow image of mode L or RGB."""
    try:
        image = _pillow_class(kind)(io.BytesIO(data))
        if draft is not None:
            image.draft(draft, image.size)
        image.load()
        if image.mode.startswith("I;16"):  # Pillow would clip the 16 bits to 255; the upper eight are shown
            return pillow_image((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
        if image.mode == "P":  # the transparency of a palette is left out, about which Pillow warns
            image.info.pop("transparency", None)
        return image if image.mode in ("L", "RGB") else image.convert("RGB")
    except MemoryError:
        raise
    except _bomb_error() as error:  # above 179 million pixels, where `max_pixels` allows them; of WebP and a rare GIF
        raise Refused(f"too large for Pillow, which says: {error}") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise Refused(DAMAGED) from error


def _channels(image, channels):
    pixels = np.asarray(image)
    if image.mode == "L":
        return np.repeat(pixels[..., None], channels, axis=2)
    return pixels if channels == 3 else grey(pixels)


def grey(image: np.ndarray) -> np.ndarray:
    """uint8 `(h, w, 3)` to `(h, w, 1)`."""
    red, green, blue = (image[..., k].astype(np.int32) for k in range(3))
    return ((red * RED + green * GREEN + blue * BLUE + HALF) >> 16).astype(np.uint8)[..., None]


def _bomb_error():
    from PIL import Image

    return Image.DecompressionBombError


@functools.cache
def _pillow_class(kind):
    try:
        from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
    except ImportError as error:
        raise DataError("Image files are decoded with Pillow, which is not installed: pip install pillow") from error
    return {"BMP": BmpImagePlugin.BmpImageFile, "GIF": GifImagePlugin.GifImageFile,
            "JPEG": JpegImagePlugin.JpegImageFile, "PNG": PngImagePlugin.PngImageFile,
            "WebP": WebPImagePlugin.WebPImageFile}[kind]  # fmt: skip


def pillow_image(pixels):
    """Pixels `(h, w)` or `(h, w, 3)`, uint8, as Pillow has them."""
    from PIL import Image

    return Image.fromarray(pixels)


@functools.cache
def _simplejpeg():
    try:
        import simplejpeg
    except ImportError as error:
        raise DataError(
            "Without TensorFlow, JPEG files are decoded with simplejpeg, which is not installed: pip install simplejpeg"
        ) from error
    return simplejpeg
