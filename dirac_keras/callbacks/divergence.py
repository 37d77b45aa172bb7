"""A loss that is not finite ends the training."""

import math

import keras

from dirac_keras.errors import RunError


class TrainingDiverged(RunError):
    """The loss or a weight is NaN or infinite."""


class StopOnDivergence(keras.callbacks.Callback):
    """Ends the run after the step in which the epoch's mean loss became NaN or infinite, before that state is saved.

    Where several steps are one program, after the last of them.

    Not `keras.callbacks.TerminateOnNaN`: that ends `fit` as if the training were finished, so the diverged state would
    be saved, or, with its `raise_error`, by an error that names neither the epoch nor what was saved before.

    Args:
        describe_kept: function without arguments that says what was saved before, for the message.
    """

    def __init__(self, describe_kept=lambda: "that state was not saved"):
        super().__init__()
        self.describe_kept = describe_kept

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def next_step(self, step):
        """None: where a chunk of steps ends is early enough, see `training.chunks.ends`."""

    def on_train_batch_end(self, batch, logs=None):
        self._check(logs, self._epoch, f", step {batch + 1}")  # the mean over the epoch: it stays NaN

    def on_epoch_end(self, epoch, logs=None):
        self._check(logs, epoch)

    def _check(self, logs, epoch, step=""):
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise TrainingDiverged(
                f"The loss became {loss} in epoch {epoch + 1}{step}. Lower `learning_rate`, or use "
                f'`precision="float32"`; '
                f"{self.describe_kept()}."
            )
