"""Bilinear resize with antialiasing, to the floats of TensorFlow's operation.

A model is evaluated on the pixels that it was trained on, whichever reader gave them. So the weights are computed and
summed up in the order of TensorFlow's `ScaleAndTranslate`, in float32: along the height first, tap by tap. Nothing of
the order is left to a matrix product, whose sums are any library's own.
"""

from __future__ import annotations

import math
import threading

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
    columns = np.moveaxis(rows.reshape(height, -1, w, c), 2, 0).reshape(w, -1)  # a copy, but for one row or column
    columns = _resize_rows(columns, np.float32(width) / np.float32(w), 0, width)  # (width, height n c)
    result = np.moveaxis(columns.reshape(width, height, -1, c), (2, 1), (0, 1))
    return np.array(result, order="C").reshape(*batch, height, width, c)


def resize_and_cut(image: np.ndarray, target, corner, size) -> np.ndarray:
    """`resize` of one image to `target`, of which only the part of `size` at `corner` is computed; float32.

    Args:
        image: `(h, w, c)`.
        target, corner, size: pairs of integers along height and width.
    """
    (h, w, c), (height, width) = image.shape, size
    scale = np.asarray(target, np.float32) / np.asarray((h, w), np.float32)
    rows = _resize_rows(image.reshape(h, w * c), scale[0], corner[0], height)
    columns = _scratch("columns", (w, height, c))
    np.copyto(columns, rows.reshape(height, w, c).transpose(1, 0, 2))
    columns = _resize_rows(columns.reshape(w, height * c), scale[1], corner[1], width)
    return np.array(columns.reshape(width, height, c).transpose(1, 0, 2), order="C")


def _resize_rows(rows, scale, first, count):
    """Scale `(h, n)` by a factor along h; `(count, n)` float32 from row `first` on, overwritten by the next call."""
    starts, weights = _spans(scale, first, count, len(rows))
    used = rows[starts[0] : starts[-1] + weights.shape[1]]
    rows = _scratch("rows", used.shape)
    np.copyto(rows, used)
    places = starts - starts[0]
    result = _scratch("result", (count, rows.shape[1]))
    term = _scratch("term", result.shape)
    for tap in range(weights.shape[1]):
        taken = result if tap == 0 else term
        np.take(rows, np.minimum(places + tap, len(rows) - 1), axis=0, out=taken, mode="clip")  # else it is buffered
        taken *= weights[:, tap, None]
        if tap:
            result += taken
    return result


_buffers = threading.local()
LARGEST_BUFFER = 2**22  # floats


def _scratch(name, shape):
    """A float32 array that this thread uses again: to get a fresh one from the system takes as long as to fill it."""
    size = math.prod(shape)
    if size > LARGEST_BUFFER:
        return np.empty(shape, np.float32)
    buffer = getattr(_buffers, name, None)
    if buffer is None or buffer.size < size:
        buffer = np.empty(size, np.float32)
        setattr(_buffers, name, buffer)
    return buffer[:size].reshape(shape)


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
