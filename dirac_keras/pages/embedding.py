"""Pictures inside a page: figures, arrays and files of images as data URIs."""

import base64
import io
import sys

import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.pages.drawing import style

DOTS = 2  # of the PNG for each pixel of the page, for fine screens and for paper
PIXELS_PER_INCH = 96  # of a page, by the definition of CSS
_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}


def image_tag(picture, alt, is_vector=False, is_photo=False):
    """`<img>` of a picture.

    Args:
        picture: `matplotlib.figure.Figure`, which is closed after; array `(height, width)` or `(height, width, 3 or 4)`
            of uint8; or bytes of a PNG, JPEG, GIF, WebP or SVG file.
        alt: HTML, escaped already.
        is_vector: bool, a figure as SVG in place of PNG.
        is_photo: bool, a figure whose colours must stay.

    Returns: str, and whether it is a drawing on no ground of its own, which a dark page may turn dark.
    """
    if isinstance(picture, (bytes, bytearray)):
        return _tag(bytes(picture), alt, ""), False
    if hasattr(picture, "savefig"):
        width, height = (round(PIXELS_PER_INCH * inches) for inches in picture.get_size_inches())
        return _tag(_figure(picture, is_vector, not is_photo), alt, f' width="{width}" height="{height}"'), not is_photo
    array = np.asarray(picture)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))):
        raise UserError(
            "figure must be a Figure, bytes of an image file, or pixels (height, width[, 3 or 4]) of uint8. "
            f"Received {type(picture).__name__}, {array.dtype}, shape {array.shape}."
        )
    height, width = array.shape[:2]
    return _tag(_png(array), alt, f' width="{width}" height="{height}"'), False


def _figure(figure, is_vector, is_clear):
    file = io.BytesIO()
    with style():
        if is_vector:
            figure.savefig(file, format="svg", transparent=is_clear, metadata={"Date": None})
        else:
            figure.savefig(file, format="png", dpi=DOTS * PIXELS_PER_INCH, transparent=is_clear)
    if getattr(figure, "number", None) is not None and "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)  # which holds it until then
    return file.getvalue()


def _png(array):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(array).save(file, format="PNG")
    return file.getvalue()


def _tag(data, alt, size):
    kind = next((kind for start, kind in _KINDS.items() if data.startswith(start)), None)
    if kind is None and b"<svg" in data[:1000]:
        kind = "image/svg+xml"
    if kind is None:
        raise UserError(f"figure must be a PNG, JPEG, GIF, WebP or SVG file. Received bytes that begin {data[:8]!r}.")
    return f'<img alt="{alt}"{size} src="data:{kind};base64,{base64.b64encode(data).decode()}">'
