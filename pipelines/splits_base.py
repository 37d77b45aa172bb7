"""What the splits of both readers have in common."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from pipelines.additions.stage import Stage
from pipelines.arrays.pixels import pixel_table
from pipelines.augmentation import Augmentation
from pipelines.examples import DataError, DataSpec, Examples, View
from pipelines.readers.survey import Survey


class Stored(NamedTuple):
    """A part that lies in memory decoded and at its final size.

    Fields:
        images: `(m, h, w, c)` uint8, an array or a tensor on the CPU, as the reader has it.
        rows: `(n,)` int64, which of the images belongs to each label: parts of one source share the images.
        labels: `(n,)` or `(n, labels)`, as `Examples` has them.
    """

    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)  # arrays have no single truth value
class BaseSplits:
    """Fields and facts of a data set's train, validation and test parts; streams are the readers' own."""

    spec: DataSpec
    batch_size: int
    eval_batch_size: int
    seed: int
    augmentation: Augmentation
    train_examples: Examples
    validation_examples: Examples | None
    test_examples: Examples
    survey: Survey | None = None
    is_whole: bool = False

    def __repr__(self):
        """One line in place of all pixels."""
        parts = ", ".join(f"{len(examples):,} {part}" for part, examples in self.parts.items())
        shape = "x".join(map(str, self.spec.image_shape))
        what = f"{self.spec.num_classes:,} {self.spec.task}"
        return f"<{type(self).__name__} of {self.spec.name}: {parts}; images {shape}; {what}>"

    @property
    def parts(self) -> dict[str, Examples]:
        """The examples of "train", "validation" if there are any, and "test"; of data in one part, of "all"."""
        if self.is_whole:
            return {"all": self.test_examples}
        parts = {"train": self.train_examples, "validation": self.validation_examples, "test": self.test_examples}
        return {part: examples for part, examples in parts.items() if examples is not None}

    @functools.cached_property
    def stage(self) -> Stage | None:
        """What is added to the training batches beside shifts, flips and crops; None for nothing."""
        return Stage.of(self.augmentation, self.batch_size, self.seed, self.spec)

    @property
    def task(self) -> str:
        """ "classes", "labels" or "values", see `DataSpec`."""
        return self.spec.task

    def found(self) -> dict | None:
        """Of a folder or table: the images by class and part, and what was passed over and why. JSON-safe."""
        return None if self.survey is None else self.survey.to_dict(self.spec.class_names, self.parts)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the training examples. Raises: DataError: if there is not one."""
        if self.batch_size > self.spec.num_train:
            raise DataError(
                f"batch_size must be at most the number of training examples of {self.spec.name}, "
                f"{self.spec.num_train}. Received batch_size={self.batch_size}: give a smaller `batch_size`."
            )
        return self.spec.num_train // self.batch_size

    def stored(self, part: str) -> Stored | None:
        """A part as it lies in memory; None if there is none, or its images are encoded or yet to be scaled.

        Args:
            part: "train", "validation" or "test".
        """
        examples = self.parts.get(part)
        if (
            examples is None
            or examples.images is None
            or tuple(examples.images.shape[1:]) != tuple(self.spec.image_shape)
        ):
            return None
        return Stored(examples.images, examples.rows, examples.labels)

    def pixel_table(self, parts: int = 1) -> np.ndarray:
        """What a model sees of each pixel value, the same floats as in the host's batches.

        Args:
            parts: of the step between two values, as images that are mixed have them.
        Returns: `(255 * parts + 1, channels)` float32.
        """
        return pixel_table(self.spec.mean, self.spec.std, parts)

    def _check_stream(self, start_step, shard):
        """Raises: DataError: if there is no such training stream."""
        index, count = shard
        if not 0 <= index < count <= self.batch_size:
            raise DataError(
                f"shard must be (index, count) with 0 <= index < count and at most one part for each of the "
                f"{self.batch_size} images of a batch. Received shard={shard}."
            )
        if start_step < 0:
            raise DataError(f"start_step must be 0 or more. Received start_step={start_step}.")

    def _some_in_order(self, limit):
        examples = self.train_examples
        if limit is None:
            return examples
        return examples.take(np.random.default_rng(0).permutation(len(examples))[:limit])


def spec_view(spec: DataSpec) -> View:
    """The part of a spec that turns stored images into a model's input."""
    return View(spec.image_shape, spec.mean, spec.std, spec.resize, spec.rule)


def shard_bounds(batch_size: int, shard: tuple[int, int]) -> tuple[int, int]:
    """Where worker `shard = (index, count)` finds its part of a global batch: `(start, stop)`.

    The parts of all workers are the batch, each example once; their sizes differ by one at most.
    """
    index, count = shard
    return index * batch_size // count, (index + 1) * batch_size // count
