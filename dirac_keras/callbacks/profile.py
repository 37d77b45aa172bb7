"""A trace of some training steps for TensorBoard's profile page."""

import keras

from dirac_keras.callbacks.timing import logger
from dirac_keras.errors import UserError


def parse_steps(text):
    """`"10"` or `"10,20"` as `(first, last)`. Raises: ValueError: if it is neither, or not in order."""
    try:
        first, last = (int(part) for part in (text.split(",") if "," in text else (text, text)))
    except ValueError:
        first = last = 0
    if not 1 <= first <= last:
        raise UserError(
            f"profile must be a step or two joined by a comma, from 1, the first not after the last. Received "
            f'profile={text!r}; give `profile="10"` or `profile="10,20"`.'
        )
    return first, last


class Profile(keras.callbacks.Callback):
    """Writes a trace of some steps for TensorBoard's profile page.

    Args:
        first_step, last_step: int, counted from 1 where the process begins to train.
        folder: of TensorBoard.

    Raises: ValueError: on a backend that writes no trace.
    """

    def __init__(self, first_step, last_step, folder):
        super().__init__()
        if keras.backend.backend() not in ("tensorflow", "jax"):
            raise UserError(
                f"profile: TensorFlow and JAX write traces. Received Keras on {keras.backend.backend()}; leave "
                "`profile` out."
            )
        self.first_step = first_step
        self.last_step = last_step
        self.folder = str(folder)
        self._step = 0
        self._begin = None  # of the run's steps, where this process begins to train
        self._is_on = False

    def next_step(self, step):
        """The step before the first, and the last: a chunk of steps ends there, so the trace holds these alone."""
        if self._begin is None:  # the first to ask is where the training begins, or before it
            self._begin = step - self._step
        ends = (self._begin + end for end in (self.first_step - 1, self.last_step))
        return min((end for end in ends if end > step), default=None)

    def on_train_batch_begin(self, batch, logs=None):
        self._first_batch = batch
        if self._step + 1 == self.first_step:
            _start_trace(self.folder)
            self._is_on = True

    def on_train_batch_end(self, batch, logs=None):
        self._step += batch - self._first_batch + 1  # several steps may be one call
        if self._step == self.last_step:
            self.close()

    def on_train_end(self, logs=None):
        if self._step < self.first_step:
            logger.warning("profile: step %d was not reached, no trace was written", self.first_step)

    def close(self):
        """Write the trace that is being made, if one is; after an exception too."""
        if self._is_on:
            self._is_on = False
            _stop_trace()
            logger.info("profile: trace of steps %d to %d is in %s", self.first_step, self._step, self.folder)


def _start_trace(folder):
    if keras.backend.backend() == "jax":
        import jax

        jax.profiler.start_trace(folder)
    else:
        import tensorflow as tf

        tf.profiler.experimental.start(folder)


def _stop_trace():
    if keras.backend.backend() == "jax":
        import jax

        jax.profiler.stop_trace()
    else:
        import tensorflow as tf

        tf.profiler.experimental.stop()
