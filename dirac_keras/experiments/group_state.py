"""What networks side by side keep: the rows of each, a checkpoint of each, and the result of each."""

import logging
import time

import keras
import numpy as np
from keras import ops

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.experiments.endings import record_divergence
from dirac_keras.experiments.wide_network import give_part, join, layer_values, part
from dirac_keras.files.keras_file import save_model
from dirac_keras.files.tables import read_table, write_table
from dirac_keras.phase_out import find_skips, seal_skips
from dirac_keras.training.folder.checkpoints import checkpoint_path, find_checkpoints
from dirac_keras.training.result import write_results
from dirac_keras.training.stepping.position import Position
from dirac_keras.training.training_error import ALL, training_figures

logger = logging.getLogger("dirac_keras")


def load_optimizers(wide, models):
    """Give the optimizer of a network from `place_side_by_side` the states of its networks' optimizers."""
    wide.optimizer.build(wide.trainable_variables)
    states = [model.optimizer.variables for model in models]
    for variable, *values in zip(wide.optimizer.variables, *states, strict=True):
        variable.assign(join([ops.convert_to_numpy(value) for value in values]))


class Rows(keras.callbacks.Callback):
    """Rows of `metrics.csv` for each network; adds to the logs the mean accuracies that the progress shows.

    Args:
        jobs: of the networks.
        finished_epochs: int, whose rows are in the runs' tables.
    """

    def __init__(self, jobs, finished_epochs=0):
        super().__init__()
        self.jobs = jobs
        self.rows = [
            [row for row in read_table(job.run.metrics) if row["epoch"] <= finished_epochs] if finished_epochs else []
            for job in jobs
        ]
        self.diverged = {}  # index of a network -> TrainingDiverged

    def on_epoch_end(self, epoch, logs=None):
        shared = {name: logs[name] for name in ("learning_rate", "seconds", "images_per_second")}
        residuals = self._residuals()
        for index, rows in enumerate(self.rows):
            own = {
                name.removesuffix(f"/{index}"): float(value)
                for name, value in logs.items()
                if name.endswith(f"/{index}")
            }
            if index in self.diverged:
                continue
            if not np.isfinite(own["loss"]):
                self._note(index, f"The loss became {own['loss']} in epoch {epoch + 1}.")
                continue
            skips = {"skip_residual": residuals[index]} if residuals is not None else {}
            rows.append({"epoch": epoch + 1, **own, **shared, **skips})
        calm = [rows[-1] for index, rows in enumerate(self.rows) if index not in self.diverged]
        if not calm:
            self.model.stop_training = True
        for name in ("accuracy", "val_accuracy"):
            logs[name] = float(np.mean([row[name] for row in calm])) if calm else float("nan")

    def _note(self, index, message):
        run = self.jobs[index].run
        self.diverged[index] = TrainingDiverged(message)
        logger.warning("%s: %s", run.path.name, message)
        write_table(run.metrics, self.rows[index])
        record_divergence(run, message)

    def _residuals(self):
        """`(S,)`: mean over layers of `mean((1 - alpha)^2)`; None without variable skips."""
        skips = find_skips(self.model).values()
        left = [np.reshape(ops.convert_to_numpy(skip.skip_weight()), (len(self.rows), -1)) for skip in skips]
        return np.mean([np.mean(np.square(one), axis=-1) for one in left], axis=0) if left else None

    def seconds(self):
        """Of the training of all networks, earlier sessions too."""
        return max((sum(row["seconds"] for row in rows) for rows in self.rows), default=0.0)


class SaveEach(keras.callbacks.Callback):
    """Saves a checkpoint of each network, of the end of an epoch; ends the training when a signal asks for it.

    Args:
        jobs: `Job` of each network.
        models: the networks, compiled, which the states are written from.
        rows: `Rows`.
        interruption: `Interruption`.
    """

    def __init__(self, jobs, models, rows, interruption):
        super().__init__()
        self.jobs, self.models, self.rows, self.interruption = jobs, models, rows, interruption
        self.every_seconds = jobs[0].config.checkpoint_seconds
        self.is_stopped = False
        self._kept = None  # epoch and the wide network's values at its end, of which no checkpoint is written yet

    def on_train_begin(self, logs=None):
        self._last_save = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        if self.interruption.received is not None:
            self._stop()

    def on_test_batch_end(self, batch, logs=None):
        if self.interruption.received is not None:
            self._stop()

    def on_epoch_end(self, epoch, logs=None):
        self._kept = (epoch + 1, *_values(self.model))
        is_due = self.every_seconds is not None and time.monotonic() - self._last_save >= self.every_seconds
        is_end = epoch + 1 == self.jobs[0].config.epochs
        if is_due and not is_end:
            self._save()
        if self.interruption.received is not None:
            self._stop()
        if self.model.stop_training and not is_end:
            self._save()
            self.is_stopped = True

    def _stop(self):
        where = self._save()
        self.interruption.stop(where)

    def _save(self):
        """Write what is kept. Returns: text, where the training is; None if nothing is new."""
        if self._kept is None:
            return None
        (epoch, weights, optimizer), self._kept = self._kept, None
        steps = self.jobs[0].splits.steps_per_epoch
        for index, (job, model) in enumerate(zip(self.jobs, self.models, strict=True)):
            if index in self.rows.diverged:
                continue
            _assign(model, index, len(self.jobs), weights, optimizer)
            write_table(job.run.metrics, self.rows.rows[index])
            metadata = {**job.run.state_of_records(), "position": Position(epoch).to_dict()}
            save_model(model, checkpoint_path(job.run.checkpoints, epoch * steps), metadata, True, checksum=True)
            older = [path for step, path in find_checkpoints(job.run.checkpoints, steps) if step <= epoch * steps]
            for path in older[job.config.keep_checkpoints :]:
                path.unlink()
        self._last_save = time.monotonic()
        return f"epoch {epoch} of {self.jobs[0].config.epochs}"

    def take_apart(self, wide):
        """Give the networks the wide network's weights and their optimizers its state."""
        weights, optimizer = _values(wide)
        for index, model in enumerate(self.models):
            _assign(model, index, len(self.models), weights, optimizer)


def _values(wide):
    """Of the weights, see `layer_values`, and of the optimizer."""
    return layer_values(wide), [ops.convert_to_numpy(variable) for variable in wide.optimizer.variables]


def _assign(model, index, count, weights, optimizer):
    give_part(model, weights, index, count)
    for variable, value in zip(model.optimizer.variables, optimizer, strict=True):
        variable.assign(part(value, index, count))


def write_run(job, model, rows, index):
    """Test a network that is trained, and write it with its figures.

    Args:
        job: `Job`.
        model: `keras.Model`, compiled.
        rows: `Rows`.
        index: int, of the network there.
    """
    run, splits, config = job.run, job.splits, job.config
    if find_skips(model) and config.skip_constraint:
        try:
            seal_skips(model)
        except ValueError as error:
            logger.warning("%s: %s", run.path.name, error)
    test = model.evaluate(splits.test(), verbose=0, return_dict=True)
    write_table(run.metrics, rows.rows[index])
    summary = {
        "test_accuracy": test["accuracy"],
        "test_loss": test["loss"],
        **training_figures(model, splits, ALL),
        "epochs": config.epochs,
        "parameters": int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
        "train_seconds": sum(row["seconds"] for row in rows.rows[index]) / len(rows.rows),
    }
    run.checkpoints.mkdir(exist_ok=True)  # killed before its model is written, it has not ended: see `kept`
    write_results(run, model, summary, {"data": splits.spec.to_dict(), "seed": config.seed})
