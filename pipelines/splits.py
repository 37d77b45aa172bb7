"""The train, validation and test streams of one data set."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from pipelines import service, streams
from pipelines.augmentation import Augmentation
from pipelines.examples import DataError, DataSpec, Examples, View
from pipelines.readers.survey import Survey


@dataclasses.dataclass(frozen=True, eq=False)  # tensors have no single truth value
class Splits:
    """Train, validation and test streams of one dataset; made by `load_splits`.

    Every stream gives `(images, labels)`: normalised float32 `(batch, height, width, channels)` and int32
    `(batch,)`.
    """

    spec: DataSpec
    batch_size: int
    eval_batch_size: int
    seed: int
    augmentation: Augmentation
    train_examples: Examples
    validation_examples: Examples | None
    test_examples: Examples
    survey: Survey | None = None

    @property
    def parts(self) -> dict[str, Examples]:
        """The examples of "train", "validation" if there are any, and "test"."""
        parts = {"train": self.train_examples, "validation": self.validation_examples, "test": self.test_examples}
        return {part: examples for part, examples in parts.items() if examples is not None}

    def found(self) -> dict | None:
        """Of a folder: the images by class and part, and what was passed over and why. JSON-safe."""
        return None if self.survey is None else self.survey.to_dict(self.spec.class_names, self.parts)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the training examples. Raises: DataError: if there is not one."""
        if self.batch_size > self.spec.num_train:
            raise DataError(
                f"batch_size must be at most the number of training examples of {self.spec.name}, "
                f"{self.spec.num_train}. Received batch_size={self.batch_size}: give a smaller one."
            )
        return self.spec.num_train // self.batch_size

    def train(
        self, start_step: int = 0, shard: tuple[int, int] = (0, 1), data_service: str | None = None
    ) -> tf.data.Dataset:
        """An endless stream of full training batches; batch `k` depends on the seed and `k` alone.

        Args:
            start_step: batches to pass over, at no cost: `train(k)` is `train(0)` after `k` batches, exactly.
            shard: `(index, count)`: the part of every batch that worker `index` of `count` takes. The parts of all
                of them are the batch, image for image. Of encoded images, only its own are read.
            data_service: `grpc://host:port` of a dispatcher whose workers compute the batches, the same ones.
        """
        index, count = shard
        if not 0 <= index < count <= self.batch_size:
            raise DataError(
                f"shard must be (index, count) with 0 <= index < count and at most one part for each of the "
                f"{self.batch_size} images of a batch. Received shard={shard}."
            )
        if start_step < 0:
            raise DataError(f"start_step must be 0 or more. Received start_step={start_step}.")
        stream = streams.train_stream(
            self.train_examples,
            spec_view(self.spec),
            augmentation=self.augmentation,
            batch_size=self.batch_size,
            steps_per_epoch=self.steps_per_epoch,
            seed=self.seed,
            start_step=start_step,
            shard=shard,
            by_step=data_service is not None,
        )
        return stream if data_service is None else service.from_service(stream, data_service, start_step)

    def validation(self) -> tf.data.Dataset | None:
        """The validation examples in order, once; the last batch may be smaller. None if there are none."""
        if self.validation_examples is None:
            return None
        return streams.evaluation_stream(self.validation_examples, spec_view(self.spec), self.eval_batch_size)

    def test(self) -> tf.data.Dataset:
        """The test examples in order, once; the last batch may be smaller."""
        return streams.evaluation_stream(self.test_examples, spec_view(self.spec), self.eval_batch_size)

    def train_in_order(self, limit: int | None = None) -> tf.data.Dataset:
        """The training examples in order, once, not augmented; the last batch may be smaller.

        Args:
            limit: so many of them at most, drawn with a fixed seed and in a random order; None takes all.
        """
        examples = self.train_examples
        if limit is not None:
            examples = examples.take(np.random.default_rng(0).permutation(len(examples))[:limit])
        return streams.evaluation_stream(examples, spec_view(self.spec), self.eval_batch_size)


def spec_view(spec: DataSpec) -> View:
    """The part of a spec that turns stored images into a model's input."""
    return View(spec.image_shape, spec.mean, spec.std, spec.resize, spec.rule)
