"""Checkpoints: the model with its optimizer and the position in the run, written whole, the last few kept."""

import dataclasses
import logging
import math
import re
import time

import keras
import numpy as np

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.distribution import Placement
from dirac_keras.errors import UserError
from dirac_keras.files.checksum import has_valid_checksum
from dirac_keras.files.keras_file import load_model, save_model
from dirac_keras.files.records import convert_record
from dirac_keras.training.folder.records import ModelRecord
from dirac_keras.training.stepping.position import Position

logger = logging.getLogger("dirac_keras")


def checkpoint_path(folder, step):
    """Where the state after `step` training steps, counted from the run's start, is kept."""
    return folder / f"step-{step:08d}.keras"


def find_checkpoints(folder, steps_per_epoch):
    """`[(step, path), ...]`, newest first; `epoch-0007.keras`, as earlier versions named them, among them."""
    found = []
    for path in folder.glob("*.keras") if folder.exists() else ():
        match = re.fullmatch(r"(step|epoch)-(\d+)\.keras", path.name)
        if match:
            found.append((int(match[2]) * (steps_per_epoch if match[1] == "epoch" else 1), path))
    return sorted(found, reverse=True)


class ForeignCheckpoint(UserError):
    """A checkpoint that is whole, in the folder of a run that it is not of."""


def load_latest(folder, steps_per_epoch, check=None, only_step=None):
    """The newest checkpoint that is whole: `(Position, compiled model)`, or `(Position(), None)`.

    A damaged one is named in the log, and the one before it is used.

    Args:
        folder: `pathlib.Path`.
        steps_per_epoch: int.
        check: function `(path, ModelRecord, model)` that raises ForeignCheckpoint for one of another run.
        only_step: int, the one that is looked for; None: any.
    """
    for step, path in find_checkpoints(folder, steps_per_epoch):
        if only_step not in (None, step):
            continue
        try:
            return _load(path, step, steps_per_epoch, check)
        except ForeignCheckpoint:
            raise
        except ValueError as error:
            logger.warning("checkpoint %s is not used: %s", path, error)
    return Position(), None


def _load(path, step, steps_per_epoch, check):
    model, metadata = load_model(path)
    record = convert_record(metadata, ModelRecord, "it", "a checkpoint of a run", "")
    if path.name.startswith("epoch-"):
        position = Position(step // steps_per_epoch)
    elif has_valid_checksum(path) is None:  # `load_model` refuses a wrong one, and takes files that have none
        raise UserError("it has lost its checksum.")
    elif record.position is None:
        raise UserError("it has no position.")
    else:
        position = Position.from_dict(record.position, "its position")
    if check is not None:
        check(path, record, model)
    if position.step(steps_per_epoch) != step or position.batch > steps_per_epoch:
        raise UserError(f"it holds the state of step {position.step(steps_per_epoch)}, its name says {step}.")
    position.restore_generators(model)
    return dataclasses.replace(position, tables=record.tables), model


class Checkpoint(keras.callbacks.Callback):
    """Saves every few steps or seconds and after every epoch; ends the training when a signal asks for it.

    List it last: what a checkpoint vouches for is on disk before it. A state with weights that are no numbers is
    never saved.

    Args:
        folder: `pathlib.Path`.
        keep: int, how many to keep.
        every_steps: int, steps of the run from one checkpoint to the next; None: no matter how many.
        every_seconds: number, seconds likewise, met at the end of the step they end in, or of the chunk of steps.
        interruption: `Interruption` whose signals are acted on here, or None.
        measured: list of callbacks whose `epoch_state()` goes into a checkpoint, see `Position`.
        place: `Placement`. Of several workers each has this callback: what an epoch's metrics have summed is read by
            all of them together, so after each step they agree on whether to; the first alone writes. A signal that
            one receives in a step ends all of them after it, in a validation after the next checkpoint.
        record: function `() -> dict` of what is kept beside the position, see `ModelRecord`; None: nothing.

    Raises: TrainingDiverged: from `fit`, if a weight is NaN or infinite when it is to be saved. ValueError: from
        `fit`, if a checkpoint cannot be written. TrainingInterrupted: from `fit`, after a signal.
    """

    def __init__(
        self,
        folder,
        keep=2,
        every_steps=None,
        every_seconds=None,
        interruption=None,
        measured=(),
        place=None,
        record=None,
    ):
        super().__init__()
        self.folder = folder
        self.keep = keep
        self.every_steps = every_steps
        self.every_seconds = every_seconds
        self.interruption = interruption
        self.measured = measured
        self.place = place or Placement("one")
        self.record = record or dict
        self._position = None  # the end of an epoch's last step, until the epoch ends

    def on_train_begin(self, logs=None):
        self._last_save = time.monotonic()
        if self._agree(self._is_asked())[0]:
            self._stop()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._position = None

    def next_step(self, step):
        """The next multiple of `every_steps`; None: a chunk of steps may end where it likes."""
        if not self.every_steps:
            return None
        return math.ceil(self.every_steps * (step // self.every_steps + 1))

    def on_train_batch_end(self, batch, logs=None):
        steps_per_epoch = self.params["steps"]
        done = batch + 1
        is_due, is_asked = self._agree(self._is_due(self._epoch * steps_per_epoch + done), self._is_asked())
        if not (is_due or is_asked or done == steps_per_epoch):
            return
        position = Position.of(self.model, self._epoch, done, self.measured)
        if done == steps_per_epoch:
            self._position = position  # the validation's metrics are the training's, reset
        if is_due or is_asked:
            self._save(position)
        if is_asked:
            self._stop(position)

    def on_test_batch_end(self, batch, logs=None):
        """In the validation of an epoch, which can be long."""
        is_alone = self.place.num_workers == 1  # several workers agree after the epoch
        if is_alone and self._is_asked() and self._position is not None:
            self._save(self._position)
            self._stop(self._position)

    def on_epoch_end(self, epoch, logs=None):
        position = Position(epoch + 1)
        self._save(position)
        if self._agree(self._is_asked())[0]:
            self._stop(position)

    def _agree(self, *wishes):
        """Whether any worker has each wish."""
        return self.place.any_worker(*wishes)

    def _is_asked(self):
        return self.interruption is not None and self.interruption.received is not None

    def _is_due(self, step):
        if not self.place.is_chief:
            return False  # whose clock decides for all
        if self.every_steps and step % self.every_steps == 0:
            return True
        return self.every_seconds is not None and time.monotonic() - self._last_save >= self.every_seconds

    def _save(self, position):
        if self.place.is_chief:
            with self.place.aside():
                self._write(position)

    def _write(self, position):
        steps_per_epoch = self.params["steps"]
        step = position.step(steps_per_epoch)
        self._check_finite(step)
        path = checkpoint_path(self.folder, step)
        try:
            metadata = {**self.record(), "position": position.with_generators(self.model).to_dict()}
            save_model(self.model, path, metadata, overwrite=True, checksum=True)
        except ValueError as error:
            kept = describe_newest(self.folder, steps_per_epoch)
            raise UserError(f"{str(error).rstrip('.')}; {kept}. Repair that and train again to resume.") from error
        self._prune(step)
        self._last_save = time.monotonic()

    def _prune(self, step):
        """A later one that is there could not be used; it takes no whole one's place, and will be replaced."""
        older = [path for other, path in find_checkpoints(self.folder, self.params["steps"]) if other <= step]
        for path in older[self.keep :]:
            path.unlink()

    def _check_finite(self, step):
        for variable in self.model.variables:
            values = keras.ops.convert_to_numpy(variable)
            if not np.isfinite(values.astype("float32")).all():
                raise TrainingDiverged(
                    f"A weight, {variable.path}, became NaN or infinite by step {step}. Lower `learning_rate`, or use "
                    f'`precision="float32"`; {describe_newest(self.folder, self.params["steps"])}.'
                )

    def _stop(self, position=None):
        self._agree(False)  # on leaving together, when the first has written
        steps = self.params["steps"]
        total = self.params["epochs"] * steps
        self.interruption.stop(position and f"step {position.step(steps)} of {total}")


def describe_newest(folder, steps_per_epoch):
    """What a run can resume from, for a message."""
    found = find_checkpoints(folder, steps_per_epoch)
    return f"the last checkpoint, {found[0][1].name}, is kept" if found else "nothing was saved"
