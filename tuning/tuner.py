"""`TrialTuner`: KerasTuner's loop over this package's training; `TrainingHyperModel`: its networks for other tuners."""

import contextlib
import json
import os
import time

import grpc
import keras_tuner
from keras_tuner import errors
from keras_tuner.engine import base_tuner

from dirac_keras.errors import UserError
from dirac_keras.training import compile_model, untrained_model
from dirac_keras.training.start.beginning import begin
from dirac_keras.training.start.freezing import freeze
from tuning.faults import TrialFailed, first_line, stopped_by
from tuning.oracles import RECORD, RELEASED
from tuning.records import FAILED
from tuning.trials import forget_models, run_trial


class TrainingHyperModel(keras_tuner.HyperModel):
    """The compiled, untrained network of a trial's values; with it any tuner of KerasTuner can search a `SearchSpace`.

    Args:
        space: `SearchSpace`.
        splits: `Splits`, for the images' shape and the steps of an epoch.
        epochs: int, of the schedule; where a tuner gives `tuner/epochs`, that.

    Example:
    >>> tuner = keras_tuner.RandomSearch(TrainingHyperModel(space, splits, 5), hyperparameters=space.hyperparameters())
    """

    def __init__(self, space, splits, epochs):
        super().__init__()
        self.space, self.splits, self.epochs = space, splits, epochs

    def config(self, hp, seed=0):
        """The `TrainConfig` of a `keras_tuner.HyperParameters`."""
        return self.space.config(hp.values, hp.values.get("tuner/epochs", self.epochs), seed)

    def build(self, hp):
        config = self.config(hp)
        model = untrained_model(config, self.splits.spec, "float32")
        begin(model, config, self.splits)
        freeze(model, config)
        compile_model(model, config, self.splits.steps_per_epoch)
        return model


class TrialTuner(base_tuner.BaseTuner):
    """Runs the trials that an oracle gives out.

    Hyperband's trial of more epochs is trained anew rather than resumed from the one of fewer: the learning rate's
    schedule spans a training, so that a result is that of its config, and `dirac-keras train` comes to it again.

    Args:
        oracle: one of `tuning.oracles`.
        settings: `Settings` of the search.
        data: `Data`; meter: `CostMeter`.
        folder: `pathlib.Path` of the trials.
        deadline: `time.monotonic()`, or None; on_epoch: function of (number, epoch, epochs, logs), or None.
        check_chief: function without arguments that raises UserError if the chief is gone, or None. KerasTuner itself
            would wait for it for an hour.
        during_trial: function of a trial's id that gives a context manager, entered while it runs, or None.
    """

    def __init__(
        self,
        oracle,
        settings,
        data,
        meter,
        folder,
        deadline=None,
        on_epoch=None,
        check_chief=None,
        during_trial=None,
    ):
        self.settings, self.data, self.meter, self.folder = settings, data, meter, folder
        self.deadline, self.on_epoch = deadline, on_epoch
        self.check_chief, self.during_trial = check_chief, during_trial or (lambda trial_id: contextlib.nullcontext())
        self._has_begun = True
        super().__init__(oracle)

    @property
    def project_dir(self):
        """Of KerasTuner's own files: a place that cannot be, as it would read, or delete, what it finds there."""
        return os.path.join(os.devnull, "none")

    def save(self):
        """Nothing reads KerasTuner's own files, see `Journal`."""

    def search(self):
        """Take trials until there are no more. Raises: what has stopped one, see `tuning.faults`."""
        try:
            super().search()
        except errors.FatalError as error:
            if error.__cause__ is None:
                raise
            raise error.__cause__ from error.__cause__.__cause__

    def pre_create_trial(self):
        if not self._has_begun:  # there was nothing to do: others' trials run
            time.sleep(1)
        self._has_begun = False
        self._check_chief()

    def _check_chief(self):
        try:
            if self.check_chief:
                self.check_chief()
        except UserError as error:
            raise errors.FatalRuntimeError(str(error)) from error

    def on_trial_begin(self, trial):
        self._has_begun = True

    def run_trial(self, trial):
        number = int(trial.trial_id)
        settings = self.settings
        values = trial.hyperparameters.values
        epochs = values.get("tuner/epochs", settings.max_epochs)
        start = time.perf_counter()
        report = self.on_epoch and (lambda *progress: self.on_epoch(number, *progress))
        try:
            with self.during_trial(trial.trial_id):
                record = run_trial(
                    _config(settings, values, epochs),
                    self.folder / f"{number:04d}",
                    self.data,
                    self.meter,
                    settings.executions,
                    self.deadline,
                    report,
                    is_patient=self.check_chief is not None,
                    strategy=settings.strategy,
                    max_gigabytes=settings.max_gigabytes,
                )
        except TrialFailed as failure:
            record = {"reason": str(failure), "seconds": round(time.perf_counter() - start, 3), "epochs": epochs}
            values[RECORD] = json.dumps(record)
            self._check_chief()
            raise errors.FailedTrialError(str(failure)) from failure
        except Exception as error:
            stop = stopped_by(error, number, self.folder / f"{number:04d}")
            if self.check_chief:
                self._release(trial, first_line(error))
            raise errors.FatalRuntimeError(str(stop)) from stop
        finally:
            forget_models()
        values[RECORD] = json.dumps(record)
        self._check_chief()
        return {self.oracle.objective.name: record["score"]}

    def _release(self, trial, reason):
        """Tell the chief that the trial is open again; if it does not hear that, it notices the silence."""
        trial.hyperparameters.values[RECORD] = json.dumps({RELEASED: reason})
        trial.status = FAILED
        with contextlib.suppress(UserError, grpc.RpcError):
            self.check_chief()
            self.oracle.end_trial(trial)


def _config(settings, values, epochs):
    try:
        return settings.space.config(values, epochs, settings.seed)
    except UserError as error:
        raise TrialFailed(f"its values exclude each other: {first_line(error)}") from error
