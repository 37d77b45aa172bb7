"""One trial of a search: train a config, some times over, fold the result, say what it costs."""

import contextlib
import dataclasses
import gc
import logging
import math
import shutil
import statistics
import time

import keras
from rich.console import Console

from dirac_keras.errors import RunError
from dirac_keras.files.lock import FolderInUse, locked
from dirac_keras.folding import fold
from dirac_keras.graph.casting import to_float32
from dirac_keras.training import train
from pipelines import load_splits
from tuning.faults import TrialFailed, why_candidate_failed

logger = logging.getLogger("dirac_keras")
AGREEMENT = 1e-3  # relative; float32 through a few dozen layers rounds to 1e-5, a wrong fold is off by 1e-1
SILENT = Console(quiet=True)


class TimeIsUp(BaseException):
    """The search's clock has run out within a trial; no error of the trial's, so no `Exception`."""


class Data:
    """The splits of each seed, read once: batch sizes share the images.

    Args:
        options: of `load_splits` beside those of a config, such as `download`.
    """

    def __init__(self, **options):
        self.options = options
        self._loaded = {}

    def of(self, config):
        """`Splits` of a `TrainConfig`."""
        arguments = config.data_arguments()
        batch_size = arguments.pop("batch_size")
        key = repr(sorted(arguments.items()))
        if key not in self._loaded:
            self._loaded[key] = load_splits(**arguments, batch_size=1, **self.options)
        splits = dataclasses.replace(self._loaded[key], batch_size=batch_size)
        splits.steps_per_epoch  # noqa: B018  # looks whether a batch is larger than the data
        return splits


class Watch(keras.callbacks.Callback):
    """Stops at the deadline, and tells how far a training is."""

    def __init__(self, deadline=None, on_epoch=None):
        super().__init__()
        self.deadline, self.on_epoch = deadline, on_epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise TimeIsUp

    def on_epoch_end(self, epoch, logs=None):
        if self.on_epoch:
            self.on_epoch(epoch + 1, self.params["epochs"], logs)


def run_trial(config, folder, data, meter, executions=1, deadline=None, on_epoch=None, is_patient=False, **options):
    """Train a config, fold it, measure it.

    Args:
        config: `TrainConfig`. Execution k has the seed `config.seed + k`.
        folder: `pathlib.Path`; execution k is the run `folder/run<k>`. An interrupted run that is there is resumed,
            a finished one read.
        data: `Data`.
        meter: `CostMeter`.
        executions: int.
        deadline: `time.monotonic()`; on_epoch: function of (epoch, epochs, logs).
        is_patient: whether to wait while another process trains there, as a worker that was thought dead may.
        options: of `train`: `strategy`, `max_gigabytes`.

    Returns: dict, JSON-safe: `score`, the mean validation accuracy of the last epochs; `spread`, their standard
        deviation, None of one; `scores`, `seeds`; `test_accuracy`, mean; `parameters`, `macs`, `latency_ms` of the
        folded network; `folded_difference`, relative, and `argmax_agreement` of the first execution against its
        folded network; `seconds` of the training and `overhead_seconds` of all else.
    Raises: TrialFailed: with the reason, if it is the candidate's mistake, see `tuning.faults`. Other errors: as they
        were raised. TimeIsUp: at the deadline.
    """
    begun, training_seconds = time.perf_counter(), 0.0
    results, seeds = [], []
    for execution in range(executions):
        one = dataclasses.replace(config, seed=config.seed + execution)
        splits = data.of(one)
        watch = Watch(deadline, on_epoch)
        start = time.perf_counter()
        with _judging(one, splits.spec, options.get("max_gigabytes")):
            run = folder / f"run{execution}"
            if is_patient:
                _wait_until_free(run, deadline)
            result = train(one, splits, run, callbacks=[watch], console=SILENT, **options)
        training_seconds += time.perf_counter() - start
        results.append(_figures(result, one))
        shutil.rmtree(result.run.checkpoints, ignore_errors=True)  # of a finished run, model.keras is enough
        seeds.append(one.seed)
        if execution == 0:
            with _judging(one, splits.spec, options.get("max_gigabytes")):
                measured = _measure_folded(config, result.model, meter)
    scores, test_accuracies = zip(*results, strict=True)
    seconds = time.perf_counter() - begun
    return {
        "score": statistics.fmean(scores),
        "spread": statistics.stdev(scores) if len(scores) > 1 else None,
        "scores": list(scores),
        "seeds": seeds,
        "test_accuracy": statistics.fmean(test_accuracies),
        "epochs": config.epochs,
        **measured,
        "seconds": round(training_seconds, 3),
        "overhead_seconds": round(seconds - training_seconds, 3),
    }


def _wait_until_free(folder, deadline):
    """Return when no other process holds a folder. Raises: TimeIsUp: at the deadline."""
    has_said = False
    while True:
        try:
            with locked(folder):
                return
        except FolderInUse as error:
            if not has_said:
                logger.warning("waiting: %s", error)
            has_said = True
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeIsUp
        time.sleep(1)


@contextlib.contextmanager
def _judging(config, spec, max_gigabytes):
    """Turn what is the candidate's mistake into `TrialFailed`."""
    try:
        yield
    except Exception as error:
        reason = why_candidate_failed(error, config, spec, max_gigabytes)
        if reason is None or isinstance(error, TrialFailed):
            raise
        raise TrialFailed(reason) from error


def _figures(result, config):
    """Validation accuracy after the last epoch, and test accuracy.

    Raises: TrialFailed: if one is NaN. RunError: if the files of the run do not hold them.
    """
    row = result.history[-1] if result.history else {}
    found = {result.run.metrics: row.get("val_accuracy"), result.run.summary: result.summary.get("test_accuracy")}
    for path, value in found.items():
        if isinstance(value, float) and math.isnan(value):
            raise TrialFailed(f"an accuracy is NaN, see {path}")
        if row.get("epoch") != config.epochs or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise RunError(
                f"{path} does not hold the accuracy of a run of {config.epochs} epochs: it was changed or damaged. "
                f"Restore it, or delete {result.run.path}: the trial is then trained again"
            )
    return tuple(map(float, found.values()))


def _measure_folded(config, model, meter):
    folded, report = fold(to_float32(model))
    if report.max_relative_difference is not None and not report.max_relative_difference <= AGREEMENT:
        raise TrialFailed(f"the folded network differs by {report.max_relative_difference:.2g} of the outputs")
    cost = meter.of_trained(config, folded, report)
    return {
        **dataclasses.asdict(cost),
        "folded_difference": report.max_relative_difference,
        "argmax_agreement": report.argmax_agreement,
    }


def forget_models():
    """Free what Keras and TensorFlow keep of the networks of a finished trial."""
    keras.utils.clear_session(free_memory=False)  # it would collect garbage too
    gc.collect()
