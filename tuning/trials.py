"""One trial of a search: train a config, some times over, fold the result, say what it costs."""

import dataclasses
import gc
import logging
import math
import shutil
import statistics
import time

import keras
from rich.console import Console

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.errors import RunError
from dirac_keras.folding import fold
from dirac_keras.graph.casting import to_float32
from dirac_keras.training import train
from pipelines import DataError, load_splits

logger = logging.getLogger("dirac_keras")
AGREEMENT = 1e-3  # relative; float32 through a few dozen layers rounds to 1e-5, a wrong fold is off by 1e-1
SILENT = Console(quiet=True)


class TimeIsUp(BaseException):
    """The search's clock has run out within a trial; no error of the trial's, so no `Exception`."""


class TrialFailed(RunError):
    """A trial has no result, for the reason that is the message."""


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


def run_trial(config, folder, data, meter, executions=1, strategy="auto", deadline=None, on_epoch=None):
    """Train a config, fold it, measure it.

    Args:
        config: `TrainConfig`. Execution k has the seed `config.seed + k`.
        folder: `pathlib.Path`; execution k is the run `folder/run<k>`. An interrupted run that is there is resumed,
            a finished one read.
        data: `Data`.
        meter: `CostMeter`.
        executions: int.
        strategy, deadline, on_epoch: of `train`; `time.monotonic()`; function of (epoch, epochs, logs).

    Returns: dict, JSON-safe: `score`, the mean validation accuracy of the last epochs; `spread`, their standard
        deviation, None of one; `scores`, `seeds`; `test_accuracy`, mean; `parameters`, `macs`, `latency_ms` of the
        folded network; `folded_difference`, relative, and `argmax_agreement` of the first execution against its
        folded network; `seconds` of the training and `overhead_seconds` of all else.
    Raises: TrialFailed: with the reason, if it diverges, there is not enough memory, or the folded network is another.
        TimeIsUp: at the deadline.
    """
    begun, training_seconds = time.perf_counter(), 0.0
    results, seeds = [], []
    for execution in range(executions):
        one = dataclasses.replace(config, seed=config.seed + execution)
        splits = data.of(one)
        watch = Watch(deadline, on_epoch)
        start = time.perf_counter()
        with _Reasons():
            result = train(
                one, splits, folder / f"run{execution}", callbacks=[watch], console=SILENT, strategy=strategy
            )
        training_seconds += time.perf_counter() - start
        shutil.rmtree(result.run.checkpoints, ignore_errors=True)  # of a finished run, model.keras is enough
        results.append((result.history[-1], result.summary))
        seeds.append(one.seed)
        if execution == 0:
            with _Reasons():
                measured = _measure_folded(config, result.model, meter)
    scores = [float(row["val_accuracy"]) for row, _ in results]
    if not all(map(math.isfinite, scores)):
        raise TrialFailed(f"val_accuracy is {scores}")
    seconds = time.perf_counter() - begun
    return {
        "score": statistics.fmean(scores),
        "spread": statistics.stdev(scores) if len(scores) > 1 else None,
        "scores": scores,
        "seeds": seeds,
        "test_accuracy": statistics.fmean(summary["test_accuracy"] for _, summary in results),
        "epochs": config.epochs,
        **measured,
        "seconds": round(training_seconds, 3),
        "overhead_seconds": round(seconds - training_seconds, 3),
    }


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


class _Reasons:
    """Turns what a candidate can do wrong into `TrialFailed`; an error of the data or the disk ends the search."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None or issubclass(kind, DataError):
            return False
        if issubclass(kind, TrainingDiverged):
            raise TrialFailed(f"diverged: {error}") from error
        if issubclass(kind, MemoryError) or kind.__name__ == "ResourceExhaustedError" or "out of memory" in str(error):
            raise TrialFailed(f"out of memory: {_first_line(error)}") from error
        is_of_the_disk = isinstance(error.__cause__, OSError)
        if issubclass(kind, (RuntimeError, ValueError)) and not issubclass(kind, TrialFailed) and not is_of_the_disk:
            raise TrialFailed(_first_line(error)) from error
        return False


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def forget_models():
    """Free what Keras and TensorFlow keep of the networks of a finished trial."""
    keras.utils.clear_session(free_memory=False)  # it would collect garbage too
    gc.collect()
