"""Tables and pictures of an experiment, made from the files of its runs."""

import numpy as np
from matplotlib.figure import Figure

from dirac_keras.experiments.runner import diverged
from dirac_keras.files.atomic import atomic_path
from dirac_keras.files.tables import read_table
from dirac_keras.training.result import read_figures


def errors(directory):
    """Errors of a run in percent: `{"train_error": ..., "test_error": ...}`, None for a run that diverged.

    The training error is that of the last epoch while it ran, as `metrics.csv` has it.
    """
    if diverged(directory):
        return {"train_error": None, "test_error": None}
    rows, summary = read_figures(directory)
    last = rows[-1]
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


def accuracy_over_depth(experiment, results, folder):
    """Markdown lines and a picture: test accuracy over depth, a panel for each data set, a curve for each series.

    Runs that differ in their seed are one point: their mean, with the lowest and the highest.
    """
    points = {}
    for run, directory in results:
        error = errors(directory)["test_error"]
        key = run.fields["data"], run.series, run.fields["depth"]
        points.setdefault(key, []).append(float("nan") if error is None else 100 - error)
    panels = list(dict.fromkeys(data for data, _, _ in points))
    figure = Figure(figsize=(5.5 * len(panels), 4.4), layout="constrained")
    for axis, data in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for series in dict.fromkeys(name for _, name, _ in points):
            found = sorted(
                (depth, values) for (d, name, depth), values in points.items() if (d, name) == (data, series)
            )
            depths, means = [depth for depth, _ in found], [np.mean(values) for _, values in found]
            spread = np.abs([(min(values), max(values)) for _, values in found] - np.array(means)[:, None]).T
            axis.errorbar(depths, means, yerr=spread, marker="o", markersize=3, capsize=2, linewidth=1.2, label=series)
        axis.set(xlabel="depth", ylabel="test accuracy, %", title=data)
        axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    path = save(figure, folder / f"{experiment.name}.png")
    return [*_accuracy_table(points), "", f"picture: {path}"]


def _accuracy_table(points):
    depths = sorted({depth for _, _, depth in points})
    lines = ["| network | " + " | ".join(f"{depth}" for depth in depths) + " |", "|---" * (len(depths) + 1) + "|"]
    for data, series in dict.fromkeys((data, series) for data, series, _ in points):
        cells = [_mean_and_spread(points.get((data, series, depth), [])) for depth in depths]
        lines.append(f"| {data}, {series} | " + " | ".join(cells) + " |")
    return lines


def _mean_and_spread(values):
    if not values:
        return ""
    return f"{np.mean(values):.2f}" + (f" ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else "")


def training_curves(experiment, results, folder):
    """A line that names a picture: training and test error over the epochs, the skips' residual on a second axis."""
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axis = figure.subplots()
    residual_axis = None
    for number, (run, directory) in enumerate(results):
        rows, colour = read_table(directory.metrics), f"C{number}"
        epochs = [row["epoch"] for row in rows]
        axis.plot(epochs, [100 * (1 - row["val_accuracy"]) for row in rows], color=colour, label=run.title)
        axis.plot(epochs, [100 * (1 - row["accuracy"]) for row in rows], color=colour, linestyle=":")
        residual = residual_by_epoch(directory)
        if residual:
            residual_axis = residual_axis or axis.twinx()
            residual_axis.plot(*residual, color=colour, linestyle="--", alpha=0.6)
    axis.set(xlabel="epoch", ylabel="error, % (test; dotted: training)")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    if residual_axis:
        residual_axis.set(ylabel="mean residual of the skips (dashed)", ylim=(0, 1))
        axis.set_zorder(residual_axis.get_zorder() + 1)  # the legend is in front of these lines too
        axis.patch.set_visible(False)
    path = save(figure, folder / f"{experiment.name}-curves.png")
    return [f"picture: {path}"]


def residual_by_epoch(directory):
    """Epochs and the mean residual of the skips there, which may be gone early in the first; None without skips.

    By step, or by epoch for runs that were trained side by side.
    """
    if directory.skips.exists():
        steps = directory.read_data_spec()["num_train"] // directory.read_config().batch_size
        return tuple(zip(*((row["step"] / steps, row["residual"]) for row in read_table(directory.skips)), strict=True))
    rows = read_table(directory.metrics)
    if rows and "skip_residual" in rows[0]:
        return tuple(zip(*((row["epoch"], row["skip_residual"]) for row in rows), strict=True))
    return None


def table_and_curves(experiment, results, folder):
    """`error_table` and `training_curves`."""
    return [*error_table(experiment, results), "", *training_curves(experiment, results, folder)]


def depth_and_curves(depth):
    """A report: `accuracy_over_depth` of all runs and `training_curves` of those of one depth."""

    def report(experiment, results, folder):
        chosen = [(run, directory) for run, directory in results if run.fields["depth"] == depth]
        lines = accuracy_over_depth(experiment, results, folder)
        return lines + training_curves(experiment, chosen or results, folder)

    return report


def save(figure, path):
    """Write a figure as PNG, whole or not at all; returns the path."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return path


def _percent(value):
    return "" if value is None else f"{value:.2f} %"
