"""Checks of the arguments of `load_splits`. Each error names the argument, what it must be and the value received."""

from __future__ import annotations

import numpy as np

from pipelines.examples import DataError
from pipelines.printable import printable


def check_choice(key: str, value, choices: tuple) -> None:
    """Raises: DataError: unless `value` is one of `choices`."""
    if value not in choices:
        raise DataError(f"{key} must be one of {', '.join(map(repr, choices))}. Received {key}={value!r}.")


def check_count(key: str, value, least: int) -> None:
    """Raises: DataError: unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise DataError(f"{key} must be an integer of at least {least}. Received {key}={value!r}.")


def check_folder_name(name: str) -> None:
    """Raises: DataError: if the path of a folder has bytes that are no UTF-8: the records of a run cannot hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"name must be UTF-8 text, which is written into the records of a run. Received {printable(name)}. Rename "
            "that folder, or give a link to it; the names of classes and files in it may have any bytes."
        ) from None


def check_seed(seed) -> None:
    """Raises: DataError: unless it is an integer in 0..2**63 - 1."""
    check_count("seed", seed, 0)
    if seed >= 2**63:
        raise DataError(f"seed must be below 2**63. Received seed={seed}.")


def size_pair(image_size) -> tuple[int, int] | None:
    """`image_size` as (height, width) in pixels; None stays None. Raises: DataError: if it is no size."""
    if image_size is None:
        return None
    pair = image_size if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    if len(pair) != 2 or any(not isinstance(side, (int, np.integer)) or side < 1 for side in pair):
        raise DataError(f"image_size must be a side or (height, width) in pixels. Received image_size={image_size!r}.")
    return int(pair[0]), int(pair[1])
