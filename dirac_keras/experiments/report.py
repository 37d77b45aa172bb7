"""Tables and pictures of an experiment, made from the files of its runs."""

import json

from matplotlib.figure import Figure

from dirac_keras.artifact import atomic_path
from dirac_keras.callbacks import read_table
from dirac_keras.experiments.runner import diverged


def errors(directory):
    """Errors of a run in percent: `{"train_error": ..., "test_error": ...}`, None for a run that diverged.

    The training error is that of the last epoch while it ran, as `metrics.csv` has it.
    """
    if diverged(directory):
        return {"train_error": None, "test_error": None}
    last = read_table(directory.metrics)[-1]
    summary = json.loads(directory.summary.read_text(encoding="utf-8"))
    return {"train_error": 100 * (1 - last["accuracy"]), "test_error": 100 * (1 - summary["test_accuracy"])}


def error_table(experiment, results, folder=None):
    """Markdown lines: train and test error of each run, the paper's beside ours."""
    lines = ["| network | train | paper | test | paper |", "|---|---|---|---|---|"]
    for run, directory in results:
        ours = errors(directory)
        cells = [part for name in ("train_error", "test_error") for part in (ours[name], run.paper.get(name))]
        texts = [_percent(cell) for cell in cells]
        if diverged(directory):
            texts[0] = texts[2] = "diverged"
        lines.append(f"| {run.title} | " + " | ".join(texts) + " |")
    return lines


def error_over_depth(experiment, results, folder):
    """Markdown lines and a picture: errors over depth, a curve for each series of runs."""
    series = {}
    for run, directory in results:
        series.setdefault(run.series, []).append((run.fields["depth"], errors(directory)))
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, name in zip(axes, ("train_error", "test_error"), strict=True):
        for label, points in series.items():
            shown = [
                (depth, found[name]) for depth, found in sorted(points, key=lambda p: p[0]) if found[name] is not None
            ]
            axis.plot(*zip(*shown, strict=True), marker="o", markersize=3, label=label)
        axis.set(xlabel="hidden layers", title=name.replace("_", " "), ylim=(0, 100))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("%")
    axes[1].legend(fontsize=7)
    path = save(figure, folder / f"{experiment.name}.png")
    return [*error_table(experiment, results), "", f"picture: {path}"]


def save(figure, path):
    """Write a figure as PNG, whole or not at all; returns the path."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return path


def _percent(value):
    return "" if value is None else f"{value:.2f} %"
