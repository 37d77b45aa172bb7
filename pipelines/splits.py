"""The train, validation and test streams of one data set, in tf.data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pipelines import service, streams
from pipelines.examples import DataError
from pipelines.orders import alternating_flips, epoch_orders
from pipelines.splits_base import BaseSplits, spec_view

__all__ = ["Splits", "spec_view"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)  # tensors have no single truth value
class Splits(BaseSplits):
    """Train, validation and test streams of one dataset; made by `load_splits`.

    Every stream gives `(images, labels)`: normalised float32 `(batch, height, width, channels)` and labels as
    `Examples` has them, int32 `(batch,)` of classes. Where training images are mixed, the training's labels are shares
    of the classes, float32 `(batch, classes)`.
    """

    @property
    def reader(self) -> str:
        """ "tensorflow": its random choices are other ones than those of `ArraySplits`."""
        return "tensorflow"

    def positions(self, step: int) -> np.ndarray:
        """`(batch,)` int64: which training examples the batch of a step has, in its order."""
        where = (len(self.train_examples), self.batch_size, self.steps_per_epoch, self.seed)
        return next(iter(epoch_orders(*where, step)))[1].numpy()

    def train_at(self, positions: np.ndarray) -> tf.data.Dataset:
        """The training examples at some positions, as the test stream would give them."""
        return streams.evaluation_stream(
            self.train_examples.take(np.asarray(positions)), spec_view(self.spec), self.eval_batch_size
        )

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
        self._check_stream(start_step, shard)
        if data_service is not None:
            self.check_data_service(data_service)
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
            stage=self.stage,
        )
        return stream if data_service is None else service.from_service(stream, data_service, start_step)

    def check_data_service(self, address: str, connect: bool = False) -> None:
        """Raise DataError unless a data service can prepare the training batches.

        Args:
            address: of the dispatcher, `grpc://host:port`.
            connect: bool, whether something must listen there.
        """
        if self.stage is not None:
            raise DataError(
                "data_service computes with TensorFlow's operations alone, and what is added to a base, as in "
                f"cifar+mixup, is Python's. Received data_service={address!r}: leave it out, or train without "
                "additions."
            )
        check = service.check_reachable if connect else service.check_address
        check(address)

    def on_device(self) -> tuple[Callable, Callable]:
        """What `train` computes, in two parts, of which the second can be a part of a training step on the device.

        Only of training data that are `stored`, without a `stage`; they are copied to the device once.

        Returns: `(orders, make)`: `orders(start_step)` is a dataset of `(step, positions)` without end, and
            `make(step, positions)` the batch: `train(k)` is `orders(k).map(make)`, exactly.
        """
        where = (len(self.train_examples), self.batch_size, self.steps_per_epoch, self.seed)
        flips = alternating_flips(where[0], self.augmentation, self.seed, self.steps_per_epoch)
        make = streams.batch_maker(
            self.train_examples, spec_view(self.spec), self.augmentation, self.seed, flips, on_device=True
        )

        def orders(start_step: int = 0) -> tf.data.Dataset:
            return epoch_orders(*where, start_step).prefetch(1).with_options(streams.stream_options())

        return orders, make

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
        return streams.evaluation_stream(self._some_in_order(limit), spec_view(self.spec), self.eval_batch_size)
