"""The train, validation and test streams of one data set, as NumPy arrays."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from pipelines.arrays import streams
from pipelines.arrays.streams import Batches
from pipelines.draws import BatchDraws, Draws
from pipelines.examples import DataError
from pipelines.splits_base import BaseSplits, spec_view


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ArraySplits(BaseSplits):
    """Train, validation and test streams of one dataset without TensorFlow; made by `load_splits`.

    Every stream gives `(images, labels)`: normalised float32 `(batch, height, width, channels)` and labels as
    `Examples` has them, int32 `(batch,)` of classes. Where training images are mixed, the training's labels are shares
    of the classes, float32 `(batch, classes)`.
    """

    @property
    def reader(self) -> str:
        """ "numpy": its random choices are other ones than those of `Splits`."""
        return "numpy"

    @functools.cached_property
    def batch_draws(self) -> BatchDraws:
        """The random choices of all training batches. Raises: DataError: if there is no full batch."""
        self.steps_per_epoch  # noqa: B018 - raises
        return BatchDraws(self.spec.num_train, self.batch_size, self.seed, self.augmentation)

    def draws(self, step: int) -> Draws:
        """The random choices of the training batch of a step, of the whole batch."""
        return self.batch_draws(step)

    def positions(self, step: int) -> np.ndarray:
        """`(batch,)` int64: which training examples the batch of a step has, in its order."""
        return self.batch_draws.positions(step)

    def train_at(self, positions: np.ndarray) -> Batches:
        """The training examples at some positions, as the test stream would give them."""
        return streams.evaluation_stream(
            self.train_examples.take(np.asarray(positions)), spec_view(self.spec), self.eval_batch_size
        )

    def train(self, start_step: int = 0, shard: tuple[int, int] = (0, 1), data_service: str | None = None) -> Batches:
        """An endless stream of full training batches; batch `k` depends on the seed and `k` alone.

        Args:
            start_step: batches to pass over, at no cost: `train(k)` is `train(0)` after `k` batches, exactly.
            shard: `(index, count)`: the part of every batch that worker `index` of `count` takes. The parts of all
                of them are the batch, image for image. Only its own images are read.
            data_service: None; the service is tf.data's.
        """
        if data_service is not None:
            self.check_data_service(data_service)
        self._check_stream(start_step, shard)
        return streams.train_stream(
            self.train_examples,
            spec_view(self.spec),
            self.augmentation,
            self.batch_draws,
            start_step,
            shard,
            self.stage,
        )

    def check_data_service(self, address: str, connect: bool = False) -> None:
        """Raise DataError: the service is tf.data's."""
        raise DataError(
            f"data_service is tf.data's, which the reader without TensorFlow does not use. Received "
            f"data_service={address!r}: leave it out, or train on TensorFlow."
        )

    def validation(self) -> Batches | None:
        """The validation examples in order; the last batch may be smaller. None if there are none."""
        if self.validation_examples is None:
            return None
        return streams.evaluation_stream(self.validation_examples, spec_view(self.spec), self.eval_batch_size)

    def test(self) -> Batches:
        """The test examples in order; the last batch may be smaller."""
        return streams.evaluation_stream(self.test_examples, spec_view(self.spec), self.eval_batch_size)

    def train_in_order(self, limit: int | None = None) -> Batches:
        """The training examples in order, not augmented; the last batch may be smaller.

        Args:
            limit: so many of them at most, drawn with a fixed seed and in a random order; None takes all.
        """
        return streams.evaluation_stream(self._some_in_order(limit), spec_view(self.spec), self.eval_batch_size)
