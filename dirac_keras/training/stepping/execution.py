"""How the steps of a run are executed: one by one by Keras' `fit`, or many as one program (docs/accelerators.md)."""

import contextlib
import dataclasses
import functools
import logging
import math

import keras

from dirac_keras.errors import UserError, check_choice
from dirac_keras.training.chunks import device
from dirac_keras.training.chunks.ends import refuse_every_step
from dirac_keras.training.chunks.feeds import STREAM_BYTES, StoredFeed, StreamFeed
from dirac_keras.training.chunks.kept import KeptBatches, bytes_of_batches
from dirac_keras.training.chunks.lengths import capacity_of, parse_steps
from dirac_keras.training.chunks.loop import fit_in_chunks
from dirac_keras.training.stepping.resumable_fit import fit_from
from dirac_keras.training.stepping.steps import StepsAnExecution, batches_made_in_step, check_steps_an_execution

logger = logging.getLogger("dirac_keras")
ON_DEVICE = ("auto", "yes", "no")
DRAW_BYTES = 2**26  # of the draws of a chunk, see `feeds.StoredFeed`


@dataclasses.dataclass(frozen=True)
class Execution:
    """What the user wants; it does not decide a run's result.

    Args:
        steps_per_execution: `"auto"`, or a whole number of 1 or more: most steps of one program. `"auto"`: on an
            accelerator as many as take about a second, on a CPU one.
        data_on_device: `"auto"`, `"yes"` or `"no"`: whether the training data lie in the device's memory. `"auto"`:
            under JAX on an accelerator, if they take at most `device.DATA_SHARE` of it.

    Raises: UserError: if a value is something else.
    """

    steps_per_execution: object = "auto"
    data_on_device: str = "auto"

    def __post_init__(self):
        steps = parse_steps(self.steps_per_execution)
        if steps is None:
            raise UserError(
                "`steps_per_execution` must be auto or a whole number of 1 or more. Received "
                f"steps_per_execution={self.steps_per_execution!r}."
            )
        object.__setattr__(self, "steps_per_execution", steps)
        check_choice("data_on_device", self.data_on_device, ON_DEVICE)

    @property
    def is_asked(self):
        """Whether the user asks for what Keras' `fit` does not do."""
        return self.steps_per_execution not in ("auto", 1) or self.data_on_device == "yes"

    def in_chunks(self, place):
        """Whether our loop takes the place of Keras' `fit` on a `Placement`."""
        if keras.backend.backend() != "jax" or place.num_workers > 1:
            return False
        if self.is_asked:
            if not device.is_accelerator():
                logger.info("on a CPU, steps that are compiled together may be slower than single ones")
            return True
        return device.is_accelerator() and (self.steps_per_execution, self.data_on_device) != (1, "no")

    def check(self, splits, place, callbacks):
        """Raise UserError if it cannot be done.

        Args:
            splits: data, see `train`.
            place: `Placement`.
            callbacks: the caller's Keras callbacks.
        """
        backend = keras.backend.backend()
        if self.is_asked and backend not in ("jax", "tensorflow"):
            raise UserError(
                "Steps are compiled together, and data lie on the device, on JAX and TensorFlow. Received "
                f"steps_per_execution={self.steps_per_execution}, data_on_device={self.data_on_device} with Keras on "
                f"{backend}: leave them out."
            )
        if self.is_asked and place.num_workers > 1:
            raise UserError(
                "Each of several workers would measure another length of chunks. Received "
                f"steps_per_execution={self.steps_per_execution}, data_on_device={self.data_on_device} on {place}: "
                "leave them out."
            )
        if self.is_asked and backend == "tensorflow" and place.strategy is not None:
            raise UserError(
                "On TensorFlow steps are executed together, and data lie on the device, on one device alone. Received "
                f"steps_per_execution={self.steps_per_execution}, data_on_device={self.data_on_device} on {place}: "
                'leave them out, or train with `strategy="one"`.'
            )
        if self.steps_per_execution not in ("auto", 1):
            refuse_every_step(callbacks, self.steps_per_execution)
        if self.data_on_device == "yes":
            device.judge(splits, "yes")

    def capacity_of_draws(self, splits, networks=1):
        """Steps that a chunk has room for where its batches are cut on the device, for so many networks."""
        count = networks * sum(part.nbytes for part in splits.draws(0) if part is not None)
        return capacity_of(self.steps_per_execution, splits.steps_per_epoch, count, DRAW_BYTES)

    @contextlib.contextmanager
    def opened(self, job, model, position, callbacks, waiting):
        """Within, a function that trains as `fit_from` does, called with what it takes but for the stream.

        Args:
            job: `Job`.
            model: compiled `keras.Model`.
            position: `Position` that the training begins at.
            callbacks: list of Keras callbacks, which may get one more.
            waiting: `Waiting` if `in_chunks(place)`, else None.
        """
        splits, place = job.splits, job.place
        if waiting is not None:
            feed = self.open_feed(splits, job.config.batch_size, place)

            def fit(model, position, validation_data, **options):
                options |= {"steps_per_execution": self.steps_per_execution, "waiting": waiting}
                fit_in_chunks(model, position, feed, validation_data=_kept(validation_data, feed, splits), **options)

            yield fit
            return
        with contextlib.ExitStack() as stack:
            stream = functools.partial(place.train_data, splits)
            if keras.backend.backend() == "tensorflow" and self.data_on_device == "yes":
                fits, reason = device.judge(splits, "yes")
                logger.info("data on the device: %s", reason)
                if fits:
                    stream, make = splits.on_device()
                    stack.enter_context(batches_made_in_step(model, make))
            if self.steps_per_execution not in ("auto", 1):
                callbacks.append(StepsAnExecution(self.steps_per_execution, model))
            yield functools.partial(fit_from, stream=stream)

    def check_ends(self, callbacks, position, steps_per_epoch, epochs):
        """Raise UserError if executions of Keras' `fit` would not end where a callback acts, see `steps`.

        Args:
            callbacks: list of the Keras callbacks that act within an epoch.
            position: `Position` that the training begins at.
            steps_per_epoch, epochs: int.
        """
        if keras.backend.backend() == "tensorflow" and self.steps_per_execution not in ("auto", 1):
            check_steps_an_execution(self.steps_per_execution, callbacks, position, steps_per_epoch, epochs)

    def open_feed(self, splits, batch_size, place):
        """Where the batches of the chunks come from: a feed, see `feeds`.

        Args:
            splits: data, see `train`.
            batch_size: int, of the whole batch.
            place: `Placement`.
        """
        steps = splits.steps_per_epoch
        fits, reason = device.judge(splits, self.data_on_device)
        logger.info("data on the device: %s", reason)
        if fits:
            return StoredFeed(splits, self.capacity_of_draws(splits), place)

        def stream(start_step):
            return place.train_data(splits, start_step)

        count = 4 * batch_size * (1 + math.prod(splits.spec.image_shape))
        return StreamFeed(stream, capacity_of(self.steps_per_execution, steps, count, STREAM_BYTES), place)


def _kept(validation_data, feed, splits):
    """What is validated on, kept on the device if the training data are there and it fits beside them."""
    is_stored = isinstance(feed, StoredFeed) and isinstance(validation_data, keras.utils.PyDataset)
    if not is_stored or feed.place.strategy is not None:
        return validation_data
    needed = bytes_of_batches(splits, "test" if splits.validation() is None else "validation")
    if needed is None or needed > device.DATA_SHARE * device.memory()[0]:
        return validation_data
    return KeptBatches(validation_data)
