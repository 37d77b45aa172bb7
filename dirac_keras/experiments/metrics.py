"""The figures of a finished run that a table or the ledger can show: a function each, of the run's files alone."""

import dataclasses
from collections.abc import Callable

from dirac_keras.experiments.endings import diverged
from dirac_keras.experiments.kept import has_figures_alone, read_kept
from dirac_keras.training.result import read_figures


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure of a run.

    Attributes:
        title: of its column or row.
        unit: text behind the number, such as `"%"`; empty without one.
        digits: behind the decimal point.
        value: function `(rows of metrics.csv, summary, RunDirectory) -> float`, or None where the run has it not.
    """

    title: str
    unit: str
    digits: int
    value: Callable


def _error(share):
    return None if share is None else 100 * (1 - share)


def _train_error(rows, summary, directory):
    """Evaluated at the end where the run has that; else the mean of the last epoch while it trained."""
    return _error(summary.get("train_accuracy", rows[-1].get("accuracy") if rows else None))


METRICS = {
    "test_error": Metric("test error", "%", 2, lambda rows, summary, directory: _error(summary["test_accuracy"])),
    "train_error": Metric("train error", "%", 2, _train_error),
    "top5_error": Metric("top-5 test error", "%", 2, lambda rows, summary, directory: _error(summary.get("test_top5"))),
    "parameters": Metric("parameters", "M", 2, lambda rows, summary, directory: summary["parameters"] / 1e6),
}


def figure_text(metric, value, deviation=None):
    """`7.00 ± 1.41 %`: a number with its unit, in the digits of its `Metric`; without a deviation, the number alone."""
    spread = "" if deviation is None else f" ± {deviation:.{metric.digits}f}"
    return f"{value:.{metric.digits}f}{spread} {metric.unit}".strip()


def measure_run(directory, names):
    """Figures of a finished run, None where it diverged or has no such figure.

    Args:
        directory: `RunDirectory`.
        names: of `METRICS`.

    Returns: dict, name -> float or None.
    """
    if diverged(directory):
        return dict.fromkeys(names)
    rows, summary = _figures_of(directory)
    return {name: METRICS[name].value(rows, summary, directory) for name in names}


def has_evaluated_training(directory):
    """Whether the training error of a run is that of its end, and not a mean over its last epoch."""
    return not diverged(directory) and "train_accuracy" in _figures_of(directory)[1]


def _figures_of(directory):
    return read_kept(directory) if has_figures_alone(directory) else read_figures(directory)
