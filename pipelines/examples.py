"""Stored images and labels, what a model and an evaluation need to know of them, and errors about them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.decoding.rule import AS_VIEWERS_DO, DEFAULT_MAX_PIXELS, Rule

if TYPE_CHECKING:
    import tensorflow as tf


# What is to be told of an image: one of some classes; any of some labels, or none; numbers.
CLASSES, LABELS, VALUES = TASKS = ("classes", "labels", "values")


class DataError(ValueError):
    """Data that cannot be used as asked; the message names the argument, the value and the way out."""


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """What a model and an evaluation need to know of a dataset. JSON-safe through `to_dict` and `from_dict`.

    Args:
        name: as given to `load_splits`.
        image_shape: (height, width, channels), pixels.
        num_classes: labels are integers in 0..num_classes - 1. Of other tasks, how many labels or values an image has.
        class_names: one name per class, label or value.
        mean, std: per channel, in uint8 units (0..255); a model sees `(image - mean) / std`.
        resize: evaluation scales the shorter side to this many pixels, then cuts the centre; None: plain
            resize.
        num_train, num_validation, num_test: examples.
        exif_orientation, max_pixels: see `Rule`. The defaults are those of models that were trained before there was a
            choice.
        task: one of `TASKS`: "classes" (an image has one), "labels" (it has any of them, or none; its row is 0 or 1 for
            each), or "values" (its row is a number for each).
        columns: of a table, which columns were read: "image", "label" (a list) and perhaps "split"; else None.
        value_mean, value_std: of "values", mean and deviation of each over the training examples; else empty.
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
    exif_orientation: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    task: str = CLASSES
    columns: Mapping[str, Any] | None = None
    value_mean: tuple[float, ...] = ()
    value_std: tuple[float, ...] = ()

    def __repr__(self) -> str:
        """One line in place of a thousand names."""
        shape = "x".join(map(str, self.image_shape))
        counts = {"train": self.num_train, "validation": self.num_validation, "test": self.num_test}
        parts = ", ".join(f"{count:,} {part}" for part, count in counts.items() if count)
        return f"<DataSpec of {self.name}: images {shape}; {self.num_classes:,} {self.task}; {parts or 'no images'}>"

    @property
    def rule(self) -> Rule:
        """How image files are decoded."""
        return Rule(self.exif_orientation, self.max_pixels)

    def to_dict(self) -> dict[str, Any]:
        """A dict of strings, numbers, lists, dicts and None; without the fields of other tasks and sources."""
        values = {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()
        }
        return {key: value for key, value in values.items() if key not in OF_SOME or value not in (CLASSES, None, [])}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataSpec:
        """The inverse of `to_dict`. Raises: DataError: if a field is unknown, or one without a default is missing."""
        names = {field.name for field in dataclasses.fields(cls)}
        needed = {field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING}
        wrong = sorted({*values} - names | needed - {*values})
        if wrong:
            raise DataError(f"A DataSpec has exactly the fields {sorted(names)}. Unknown or missing: {wrong}.")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


# Fields of `DataSpec` that a record has only where they say something: records of before lack them, and are the same.
OF_SOME = ("task", "columns", "value_mean", "value_std")


@dataclasses.dataclass(frozen=True)
class View:
    """How stored images become a model's input; the fields are those of `DataSpec`, `rule` holds two of them."""

    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None
    rule: Rule = AS_VIEWERS_DO


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """Where in TFRecord files each encoded image lies.

    Args:
        paths: `(f,)` bytes, of the files.
        files: `(m,)` int64, the position in `paths`.
        starts: `(m,)` int64, the byte of the file at which the image's record begins.
        lengths: `(m,)` int64, bytes of the record's data.
        offsets, sizes: `(m,)` int64, where in the data the image begins, and its bytes.
    """

    paths: np.ndarray
    files: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Images and labels of one split: decoded in memory, or encoded in memory, in files or in records of files.

    Args:
        labels: `(n,)` int32 of classes; `(n, labels)` int32, each 0 or 1; or `(n, values)` float32.
        rows: `(n,)` int64, which of the m images belongs to each label. Splits of one source share the images.
        images: `(m, h, w, c)` uint8. An array, or a tensor on the CPU where the reader is TensorFlow's, which makes
            one of it once for all streams.
        encoded: `(m,)` bytes, likewise an array of objects or a tensor.
        paths: `(m,)` bytes, as the system has them: not each file name is text.
        records: of m images. Exactly one of `images`, `encoded`, `paths` and `records` is given.
        only_usual: see `Rule`.
        names: `(m,)` texts, what the images are called, their files for instance; None where they have a number alone.
    """

    labels: np.ndarray
    rows: np.ndarray
    images: np.ndarray | tf.Tensor | None = None
    encoded: np.ndarray | tf.Tensor | None = None
    paths: np.ndarray | None = None
    records: Records | None = None
    only_usual: bool = False
    names: np.ndarray | None = None

    @classmethod
    def in_memory(cls, images: np.ndarray, labels: np.ndarray, names=None) -> Examples:
        names = None if names is None else np.asarray(names, object)
        return cls(stored_labels(labels), np.arange(len(labels)), images=np.asarray(images, np.uint8), names=names)

    @classmethod
    def in_files(cls, paths: list[str], labels: np.ndarray) -> Examples:
        paths = np.asarray([os.fsencode(path) for path in paths], dtype=object)
        return cls(stored_labels(labels), np.arange(len(labels)), paths=paths)

    @classmethod
    def in_bytes(cls, encoded: list[bytes], labels: np.ndarray, names=None) -> Examples:
        objects = np.empty(len(encoded), object)
        objects[:] = encoded
        names = None if names is None else np.asarray(names, object)
        return cls(stored_labels(labels), np.arange(len(labels)), encoded=objects, names=names)

    @classmethod
    def in_records(cls, records: Records, labels: np.ndarray, only_usual: bool = False) -> Examples:
        return cls(stored_labels(labels), np.arange(len(labels)), records=records, only_usual=only_usual)

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, position: int) -> str | None:
        """What an example's image is called: its file, or what its source says; None if it has a number alone."""
        if self.names is not None:
            return str(self.names[self.rows[position]])
        return None if self.paths is None else os.fsdecode(self.paths[self.rows[position]])

    def take(self, indices: np.ndarray) -> Examples:
        """The examples at `indices`, without a copy of the images."""
        return dataclasses.replace(self, labels=self.labels[indices], rows=self.rows[indices])


def stored_labels(labels) -> np.ndarray:
    """Labels in the type that streams give: int32 of classes and of 0 and 1, float32 of other numbers."""
    labels = np.asarray(labels)
    return labels.astype(np.float32 if labels.dtype.kind == "f" else np.int32)
