"""Bilinear resize with antialiasing, to the floats of TensorFlow's operation.

A model is evaluated on the pixels that it was trained on, whichever reader gave them. So the weights are computed and
summed up in the order of TensorFlow's `ScaleAndTranslate`, in float32: along the height first, tap by tap. Nothing of
the order is left to a matrix product, whose sums are any library's own.
"""

from __future__ import annotations

import numpy as np

ONE, HALF = np.float32(1), np.float32(0.5)


def resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """`(..., h, w, c)` of any numbers to float32 `(..., height, width, c)`."""
    *batch, h, w, c = images.shape
    images = images.astype(np.float32)
    if (h, w) == (height, width):
        return images
    # Rows of all images side by side are one image, whose columns do not know of each other.
    rows = np.moveaxis(images.reshape(-1, h, w, c), 1, 0).reshape(h, -1)
    rows = _resize_rows(rows, np.float32(height) / np.float32(h), 0, height)  # (height, n w c)
    columns = np.moveaxis(rows.reshape(height, -1, w, c), 2, 0).reshape(w, -1)
    columns = _resize_rows(columns, np.float32(width) / np.float32(w), 0, width)  # (width, height n c)
    result = np.moveaxis(columns.reshape(width, height, -1, c), (2, 1), (0, 1))
    return np.ascontiguousarray(result).reshape(*batch, height, width, c)


def resize_and_cut(image: np.ndarray, target, corner, size) -> np.ndarray:
    """`resize` of one image to `target`, of which only the part of `size` at `corner` is computed; float32.

    Args:
        image: `(h, w, c)`.
        target, corner, size: pairs of integers along height and width.
    """
    (h, w, c), (height, width) = image.shape, size
    scale = np.asarray(target, np.float32) / np.asarray((h, w), np.float32)
    rows = _resize_rows(image.reshape(h, w * c), scale[0], corner[0], height)
    columns = np.ascontiguousarray(rows.reshape(height, w, c).transpose(1, 0, 2)).reshape(w, height * c)
    columns = _resize_rows(columns, scale[1], corner[1], width)
    return np.ascontiguousarray(columns.reshape(width, height, c).transpose(1, 0, 2))


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Between the four nearest pixels, float32: no pixel is passed over while the factor is below two."""
    rows = _between(image.reshape(len(image), -1), height)
    columns = rows.reshape(height, image.shape[1], -1).transpose(1, 0, 2).reshape(image.shape[1], -1)
    columns = _between(columns, width).reshape(width, height, -1)
    return np.ascontiguousarray(columns.transpose(1, 0, 2))


def _between(rows, count):
    size = len(rows)
    at = (np.arange(count, dtype=np.float32) + HALF) * np.float32(size / count) - HALF
    lower = np.floor(at)
    share = (at - lower)[:, None]
    lower = lower.astype(np.int64)
    upper = rows[np.clip(lower + 1, 0, size - 1)].astype(np.float32)
    lower = rows[np.clip(lower, 0, size - 1)].astype(np.float32)
    upper -= lower
    upper *= share
    upper += lower
    return upper


def _resize_rows(rows, scale, first, count):
    """Scale `(h, n)` by a factor along h; `(count, n)` float32 from row `first` on."""
    starts, weights = _spans(scale, first, count, len(rows))
    last = starts[-1] + weights.shape[1]
    rows = rows[starts[0] : last].astype(np.float32)
    places = starts - starts[0]
    result, term = np.empty((count, rows.shape[1]), np.float32), None
    for tap in range(weights.shape[1]):
        taken = np.take(rows, np.minimum(places + tap, len(rows) - 1), axis=0, out=result if tap == 0 else term)
        taken *= weights[:, tap, None]
        if tap == 0:
            term = np.empty_like(result)
        else:
            result += taken
    return result


def _spans(scale, first, count, size):
    """Which rows each row of the result is made of: the first of them `(count,)`, their weights `(count, taps)`.

    Line by line the arithmetic of `ComputeSpansCore` in tensorflow/core/kernels/image/scale_and_translate_op.cc, with
    its triangle kernel of radius 1; rows behind a span's end have the weight 0.
    """
    inverse = np.float32(1.0 / np.float64(scale))
    kernel_scale = max(inverse, ONE)
    centre = (np.arange(first, first + count, dtype=np.float32) + HALF) * inverse
    starts = np.clip(np.ceil(centre - kernel_scale - HALF).astype(np.int64), 0, size - 1)
    ends = np.clip(np.floor(centre + kernel_scale - HALF).astype(np.int64), 0, size - 1) + 1
    taps = int((ends - starts).max())
    rows = starts[:, None] + np.arange(taps)
    weights = ONE - np.abs((rows.astype(np.float32) + HALF - centre[:, None]) * (ONE / kernel_scale))
    weights = np.where(rows < ends[:, None], np.maximum(weights, np.float32(0)), np.float32(0))
    total = np.cumsum(weights, axis=1, dtype=np.float32)[:, -1:]  # one after the other, as there
    return starts, weights * (ONE / total)
