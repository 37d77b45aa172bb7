"""Early stopping, and the weights of the best epoch: judged by validation data alone, never by the test set.

What is known of the epochs so far is the run's table, `metrics.csv`, whose rows a checkpoint vouches for; so a resumed
run counts as the uninterrupted one does. The best weights lie beside the checkpoints, in a file that names its epoch.
"""

import logging
import re

import keras
import numpy as np

from dirac_keras.distribution import Placement
from dirac_keras.errors import UserError, did_you_mean
from dirac_keras.files.amounts import counted
from dirac_keras.files.keras_file import load_model, save_model
from dirac_keras.training.optimization.plateau import is_plateau

logger = logging.getLogger("dirac_keras")
MONITORED = {"classes": "accuracy", "labels": "f1_macro", "values": "mae"}  # unless the user says otherwise, by task
LOWER_IS_BETTER = ("loss", "mae", "mse", "rmse")


def is_judging(config):
    """Whether a training needs validation data, to end early or to keep its best weights."""
    return config.early_stopping is not None or bool(config.keep_best)


def check_validation(config, splits):
    """Raise UserError if a training is to be judged by validation data, and has none."""
    if not (is_judging(config) or is_plateau(config)) or splits.validation() is not None:
        return
    name = "early_stopping" if config.early_stopping is not None else "keep_best" if config.keep_best else "schedule"
    raise UserError(
        f"{'plateau' if name == 'schedule' else name} needs validation data: what is chosen by the test set makes its "
        "accuracy too good. Received "
        f"{name}={getattr(config, name)!r} with validation={config.validation!r}: give `validation=0.1`, a tenth of "
        "the training images, or leave it out."
    )


def monitored(config, model, splits):
    """Name of the figure that epochs are judged by, as in `metrics.csv`: `val_accuracy`.

    Args:
        config: `TrainConfig`.
        model: compiled `keras.Model`.
        splits: data, see `train`.

    Raises: UserError: if the model has no such figure.
    """
    compiled = model.get_compile_config()
    metrics = [*(compiled.get("metrics") or ()), *(compiled.get("weighted_metrics") or ())]
    known = [*(metric["config"]["name"] for metric in metrics), "loss"]
    if config.monitor is None:
        usual = MONITORED.get(getattr(splits.spec, "task", "classes"), "loss")
        if usual == "mae" and len(splits.spec.class_names) > 1:
            usual = "loss"  # values have units of their own: of their mean error the largest one decides
        return f"val_{usual if usual in known else 'loss'}"
    name = config.monitor.removeprefix("val_")
    if name not in known:
        raise UserError(
            f"monitor must be a figure of the validation: {', '.join(known)}. Received monitor={config.monitor!r}. "
            f"{did_you_mean(name, known)}".rstrip()
        )
    return f"val_{name}"


class Judge:
    """Which epoch is the best, and how many have come since.

    Args:
        name: str, a column of `metrics.csv`.
        patience: int, epochs without a better one after which the training ends; None: it does not.
        first_epoch: int, finished epochs before which the patience does not count.
    """

    def __init__(self, name, patience=None, first_epoch=0):
        self.name, self.patience, self.first_epoch = name, patience, first_epoch
        self._sign = -1 if name.removeprefix("val_") in LOWER_IS_BETTER else 1

    def best(self, rows):
        """The row of the best epoch, of equals the first; None if no figure is a number."""
        numbers = [row for row in rows if np.isfinite(row[self.name])]
        return max(numbers, key=lambda row: self._sign * row[self.name], default=None)

    def is_better(self, value, rows):
        """Whether a figure is better than those of all rows."""
        best = self.best(rows)
        return bool(np.isfinite(value)) and (best is None or self._sign * (value - best[self.name]) > 0)

    def has_ended(self, rows):
        """Whether the training ends after these epochs."""
        if self.patience is None or not rows:
            return False
        best = self.best(rows)
        since = max(best["epoch"] if best else 0, self.first_epoch)
        return rows[-1]["epoch"] - since >= self.patience


class KeepBest(keras.callbacks.Callback):
    """Saves the weights of each epoch that is better than all before, and ends the training when it is time.

    List it before what changes weights for a validation (`EvaluateAverage`): what was validated is what is kept. On
    several workers all have it; the first alone has rows and writes.

    Args:
        judge: `Judge`.
        folder: `pathlib.Path` of the weights.
        rows: list of the run's rows so far, which grows with each epoch; None on other workers.
        saves: bool, whether weights are saved.
        place: `Placement`.
        record: function `() -> dict` of what is kept in the file.
    """

    def __init__(self, judge, folder, rows, saves=True, place=None, record=dict):
        super().__init__()
        self.judge, self.folder, self.rows = judge, folder, rows
        self.saves, self.place, self.record = saves, place or Placement("one"), record

    def next_step(self, step):
        """None: it acts where epochs end, see `training.chunks.ends`."""

    def has_ended(self):
        """Whether the run has come to its end already."""
        return bool(self.place.chief_decides(lambda: int(self.judge.has_ended(self.rows))))

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        if self.rows is not None:  # the state after the last one is saved: what was better before is not needed
            remove_others(self.folder, self.judge.best(self.rows))

    def on_test_end(self, logs=None):
        if not self.saves or self.rows is None:
            return
        value = float(logs[self.judge.name.removeprefix("val_")])
        if self.judge.is_better(value, self.rows):
            with self.place.aside():
                record = {**self.record(), "epoch": self._epoch + 1, "figure": {self.judge.name: value}}
                path = best_path(self.folder, self._epoch + 1)
                save_model(self.model, path, record, overwrite=True, checksum=True)

    def on_epoch_end(self, epoch, logs=None):
        def is_over():  # this epoch's row is written later
            rows = [*self.rows, {"epoch": epoch + 1, self.judge.name: float(logs[self.judge.name])}]
            return int(self.judge.has_ended(rows))

        if self.place.chief_decides(is_over) and epoch + 1 < self.params["epochs"]:
            self.model.stop_training = True
            if self.place.is_chief:
                logger.info(
                    "the training ends after epoch %d of %d: no better %s in %s",
                    epoch + 1, self.params["epochs"], self.judge.name, counted(self.judge.patience, "epoch"),
                )  # fmt: skip


def best_path(folder, epoch):
    """Where the weights after so many epochs are kept while they are the best."""
    return folder / f"best-{epoch:04d}.keras"


def remove_others(folder, best):
    """Remove the weights of epochs that are not the best any more.

    Args:
        folder: `pathlib.Path`.
        best: row of the best epoch, or None.
    """
    for path in folder.glob("best-*.keras") if best is not None else ():
        match = re.fullmatch(r"best-(\d+)\.keras", path.name)
        # A later one may be of an epoch that is trained again: it will be written again.
        if match and int(match[1]) < best["epoch"]:
            path.unlink()


def take_best(job, model, history):
    """Give a trained model the weights of its best epoch, if its config says so.

    Args:
        job: `Job`.
        model: `keras.Model` that `fit` is done with.
        history: rows of `metrics.csv`; empty on all workers but the first.

    Returns: dict of what the summary says of it.
    Raises: UserError: if the weights are gone or are another run's.
    """
    config = job.config
    if not is_judging(config):
        return {}
    judge = Judge(monitored(config, model, job.splits), config.early_stopping)
    if not config.keep_best:
        return {"epochs": history[-1]["epoch"]} if history else {}
    found = job.place.on_chief(lambda: _read_best(job, judge.best(history)))
    values = [keras.ops.convert_to_numpy(variable) for variable in model.weights] if found is None else found
    for variable, value in zip(model.weights, job.place.from_chief(values), strict=True):
        variable.assign(value)
    return _said(config, judge, history) if history else {}


def _read_best(job, best):
    folder = job.run.checkpoints
    if best is None:
        raise UserError("keep_best found no epoch whose validation figure is a number: the training has diverged.")
    path = best_path(folder, best["epoch"])
    way_out = "Restore it, or give `overwrite=True` to train again."
    try:
        with job.place.aside():
            saved, record = load_model(path, compiled=False)
    except UserError as error:
        raise UserError(
            f"The weights of epoch {best['epoch']}, the best one, cannot be read: {error} {way_out}"
        ) from None
    remove_others(folder, best)
    ours = job.run.record().run
    if record.get("run") != ours or record.get("epoch") != best["epoch"]:
        raise UserError(f"path: {path} holds no weights of this run's epoch {best['epoch']}. {way_out}")
    return [keras.ops.convert_to_numpy(variable) for variable in saved.weights]


def _said(config, judge, history):
    best, trained = judge.best(history), history[-1]["epoch"]
    figure = best[judge.name]
    logger.info("the weights of epoch %d of %d are kept, best by %s: %.4f", best["epoch"], trained, judge.name, figure)
    average = f" of averages, ema_momentum {config.ema_momentum:g}" if config.ema_momentum else ""
    return {
        "weights": f"epoch {best['epoch']} of {trained}{average}, the best by {judge.name} {figure:.4f}",
        "epochs": trained,
        "best_epoch": best["epoch"],
        "monitor": judge.name,
        "best_figure": figure,
    }
