"""USPS: handwritten digits from envelopes of the US Postal Service, as libsvm's authors publish them."""

from __future__ import annotations

import bz2
import os
import pathlib
import warnings

import numpy as np

from pipelines.examples import Examples
from pipelines.printable import counted
from pipelines.readers.manual import find_files
from pipelines.readers.raw import Raw, check_labels
from pipelines.readers.storage import damaged

NAME = "usps"
SIDE = 16
COUNTS = {"usps.bz2": 7291, "usps.t.bz2": 2007}
SOURCES = tuple(f"https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/{file}" for file in COUNTS)
STATISTICS = ((64.89,), (98.08,))  # mean and deviation of all pixels of the 7,291 training images


def read_usps(data_dir: str | os.PathLike | None = None, download: bool = False) -> Raw:
    """The 7,291 training and 2,007 test images, 16x16.

    Labels 1..10 in the files are the digits 0..9. Values in -1..1 (2,001 of them, a thousandth apart, black to white)
    become round((value + 1) * 127.5): at most 0.004 off, 0.0013 in root mean square, where the deviation of the pixels
    is 0.77. -1 and 1 are exact.

    Args:
        data_dir, download: as in `pipelines.readers.manual.find_files`.
    Raises: DataError: if a file is absent, damaged, not what its authors published, or cannot be fetched.
    Source: Hull 1994, A database for handwritten text recognition research; split as in Oyedotun et al., section III.
    """
    folder = find_files(NAME, SOURCES, data_dir, download)
    train, test = (_examples(folder / file, count) for file, count in COUNTS.items())
    mean, std = STATISTICS
    names = tuple(str(digit) for digit in range(10))
    return Raw(train, test, names, (SIDE, SIDE, 1), mean, std, "none")


def _examples(path: pathlib.Path, count: int) -> Examples:
    images, labels = read_libsvm_images(path, count, SIDE)
    check_labels(labels, 10, str(path))
    return Examples.in_memory(images, labels)


def read_libsvm_images(path: pathlib.Path, count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Read bzip2-compressed lines `label 1:value 2:value ...`, every value given, in -1..1.

    Args:
        count: lines there must be.
        side: pixels of the square images.
    Returns: uint8 images `(count, side, side, 1)`, and labels from 0.
    Raises: DataError: naming the file and what is wrong.
    """
    numbers = side * side * 2 + 1  # a label, then pairs of place and value
    try:
        text = bz2.decompress(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how NumPy reports text that is no number
            flat = np.fromstring(text.replace(b":", b" "), sep=" ")
    except (OSError, ValueError, DeprecationWarning) as error:
        raise damaged(path, error) from error
    lines = text.count(b"\n") + (not text.endswith(b"\n") and text != b"")
    if lines != count or flat.size != count * numbers:
        found = (
            f"it holds {counted(lines, 'line')} and {counted(flat.size, 'number')}, not {count:,} lines of {numbers}"
        )
        raise damaged(path, found)
    rows = flat.reshape(count, numbers)
    labels, places, values = rows[:, 0], rows[:, 1::2], rows[:, 2::2]
    if not (places == np.arange(1, side * side + 1)).all():
        raise damaged(path, f"its pixels are not numbered 1 to {side * side} in every line")
    if not (np.abs(values) <= 1).all():  # NaN is not
        low, high = values.min(), values.max()
        raise damaged(path, f"its values lie in {low:g}..{high:g}, not in -1..1")
    if not (labels == np.rint(labels)).all():
        raise damaged(path, "a label is not a whole number")
    images = np.rint((values + 1) * 127.5).astype(np.uint8).reshape(count, side, side, 1)
    return images, labels.astype(np.int64) - 1
