"""Stored images and labels, what a model and an evaluation need to know of them, and errors about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf


class DataError(ValueError):
    """Data that cannot be used as asked; the message names the argument, the value and the way out."""


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """What a model and an evaluation need to know of a dataset. JSON-safe through `to_dict` and `from_dict`.

    Args:
        name: as given to `load_splits`.
        image_shape: (height, width, channels), pixels.
        num_classes: labels are integers in 0..num_classes - 1.
        class_names: one name per label.
        mean, std: per channel, in uint8 units (0..255); a model sees `(image - mean) / std`.
        resize: evaluation scales the shorter side to this many pixels, then cuts the centre; None: plain
            resize.
        num_train, num_validation, num_test: examples.
    """

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None
    num_train: int
    num_validation: int
    num_test: int

    def to_dict(self) -> dict[str, Any]:
        """A dict of strings, numbers, lists and None."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataSpec:
        """The inverse of `to_dict`. Raises: DataError: if a field is unknown or missing."""
        names = {field.name for field in dataclasses.fields(cls)}
        wrong = sorted(names.symmetric_difference(values))
        if wrong:
            raise DataError(f"A DataSpec has exactly the fields {sorted(names)}. Unknown or missing: {wrong}.")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


@dataclasses.dataclass(frozen=True)
class View:
    """How stored images become a model's input; the fields are those of `DataSpec`."""

    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Ranges:
    """Where in a few large files each encoded image lies.

    Args:
        paths: `(f,)` strings; sizes: `(f,)` int64, their lengths in bytes.
        files: `(m,)` int64, the position in `paths`; offsets, lengths: `(m,)` int64, bytes.
    """

    paths: np.ndarray
    sizes: np.ndarray
    files: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Images and labels of one split: decoded in memory, or encoded in memory, in files or in parts of files.

    Args:
        labels: `(n,)` int32.
        rows: `(n,)` int64, which of the m images belongs to each label. Splits of one source share the images.
        images: `(m, h, w, c)` uint8 tensor on the CPU.
        encoded: `(m,)` string tensor on the CPU.
        paths: `(m,)` strings.
        ranges: of m images. Exactly one of `images`, `encoded`, `paths` and `ranges` is given.
        only_jpegs: whether all images are known to be encoded as JPEG.
    """

    labels: np.ndarray
    rows: np.ndarray
    images: tf.Tensor | None = None
    encoded: tf.Tensor | None = None
    paths: np.ndarray | None = None
    ranges: Ranges | None = None
    only_jpegs: bool = False

    @classmethod
    def in_memory(cls, images: np.ndarray, labels: np.ndarray) -> Examples:
        with tf.device("/CPU:0"):  # tf.data reads it there; a GPU's memory is for the model
            return cls(np.asarray(labels, np.int32), np.arange(len(labels)), images=tf.constant(images, tf.uint8))

    @classmethod
    def in_files(cls, paths: list[str], labels: np.ndarray, only_jpegs: bool = False) -> Examples:
        paths = np.asarray(paths, dtype=object)
        return cls(np.asarray(labels, np.int32), np.arange(len(labels)), paths=paths, only_jpegs=only_jpegs)

    @classmethod
    def in_bytes(cls, encoded: list[bytes], labels: np.ndarray, only_jpegs: bool = False) -> Examples:
        with tf.device("/CPU:0"):
            encoded = tf.constant(encoded, tf.string)
        return cls(np.asarray(labels, np.int32), np.arange(len(labels)), encoded=encoded, only_jpegs=only_jpegs)

    @classmethod
    def in_ranges(cls, ranges: Ranges, labels: np.ndarray, only_jpegs: bool = False) -> Examples:
        return cls(np.asarray(labels, np.int32), np.arange(len(labels)), ranges=ranges, only_jpegs=only_jpegs)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Examples:
        """The examples at `indices`, without a copy of the images."""
        return dataclasses.replace(self, labels=self.labels[indices], rows=self.rows[indices])
