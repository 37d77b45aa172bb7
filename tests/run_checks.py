"""Small training runs, what interrupts them, and what two of them must have in common."""

import keras
import numpy as np

from dirac_keras.training import train
from dirac_keras.training.config import TrainConfig
from pipelines import load_splits

CONFIG = {
    "data": "digits",
    "family": "plainnet",  # compiles fastest
    "recipe": "plainnet",
    "depth": 2,
    "units": 16,
    "epochs": 2,
    "batch_size": 64,
    "precision": "float32",
    "max_train": 512,
    "max_test": 100,
}
STEPS = 8  # an epoch
TIMED = {"seconds", "images_per_second", "step_milliseconds", "input_wait_share", "peak_memory_mib"}


def run(workdir, **options):
    """`train_fields` of `CONFIG`; options are its own or fields."""
    own = {name: options.pop(name) for name in ("callbacks", "overwrite", "profile", "strategy") if name in options}
    return train_fields({**CONFIG, **options}, workdir, **own)


def train_fields(fields, workdir, **options):
    """Train the config of a dict of fields on its data; options are those of `train`."""
    config = TrainConfig(**fields)
    return train(config, load_splits(**config.data_arguments()), workdir, **options)


def assert_equal_weights(model, other):
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def assert_same_run(result, other):
    """Weights and rows of metrics, bit for bit, but for what the clock measured."""
    assert_equal_weights(result.model, other.model)
    rows = [
        [{name: value for name, value in row.items() if name not in TIMED} for row in run.history]
        for run in (result, other)
    ]
    assert rows[0] == rows[1]
    assert result.summary["test_loss"] == other.summary["test_loss"]


class Killed(RuntimeError):
    """Stands for the end of the process: nothing is saved for it."""


class KillAfter(keras.callbacks.Callback):
    """Ends the training behind a step of the run, or in the validation of an epoch, or before it is saved.

    Listed before the checkpoint, so the checkpoint of that very step is not written.
    """

    def __init__(self, step=None, validation_of_epoch=None, act=None):
        super().__init__()
        self.step = step
        self.validation_of_epoch = validation_of_epoch
        self.act = act

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.step == self._epoch * self.params["steps"] + batch + 1:
            self._end()

    def on_test_batch_end(self, batch, logs=None):
        if self.validation_of_epoch == self._epoch:
            self._end()

    def _end(self):
        if self.act is None:
            raise Killed
        self.act()


def refused(function):
    """The message with which a function refuses, for a script that prints what it found."""
    try:
        function()
    except ValueError as error:
        return str(error)
    return "nothing"
