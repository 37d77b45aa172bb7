"""Tables and pictures of an experiment, made from the files of its runs.

A point or a row is a network: the mean of its seeds.
"""

import numpy as np

from dirac_keras.experiments.endings import diverged
from dirac_keras.experiments.kept import has_figures_alone
from dirac_keras.experiments.metrics import has_evaluated_training, measure_run
from dirac_keras.files.tables import read_table
from dirac_keras.pages import COLOURS, LINES, headline, legend, new_figure, save_figure, style

ERRORS = ("train_error", "test_error")


def errors(directory):
    """Errors of a run in percent: `{"train_error": ..., "test_error": ...}`, None for a run that diverged.

    The training error is that of the end of the training, evaluated; of a run that has not got it, the last epoch's
    while it ran.
    """
    return measure_run(directory, ERRORS)


def by_network(results):
    """The runs of each network together: `[(first run, [RunDirectory, ...]), ...]`, a directory for each seed."""
    networks = {}
    for run, directory in results:
        networks.setdefault(run.network or run.name, (run, []))[1].append(directory)
    return list(networks.values())


def one_each(results):
    """`[(Run, RunDirectory), ...]`: of each network the first seed that did not diverge, for what shows one network.

    Not those that are kept without their model.
    """
    found = {}
    for run, directory in results:
        if not diverged(directory) and not has_figures_alone(directory):
            found.setdefault(run.network or run.name, (run, directory))
    return list(found.values())


def mean_and_deviation(values):
    """Mean and sample standard deviation of numbers; the deviation of one is None."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def error_table(experiment, results, folder=None):
    """Markdown lines: train and test error of each network over its seeds, the paper's beside ours."""
    lines = ["| network | train | paper | test | paper | seeds |", "|---|---|---|---|---|---|"]
    is_running = False
    for run, directories in by_network(results):
        found = [errors(directory) for directory in directories if not diverged(directory)]
        lost = len(directories) - len(found)
        is_running |= any(not has_evaluated_training(one) for one in directories if not diverged(one))
        cells = []
        for name in ERRORS:
            paper = run.paper.get(name)
            cells += [_spread([one[name] for one in found], "diverged"), "" if paper is None else f"{paper:.2f} %"]
        seeds = f"{len(found)}" + (f", {lost} diverged" if lost and found else "")
        lines.append(f"| {run.title} | {' | '.join(cells)} | {seeds} |")
    if is_running:
        lines += ["", "The training error of runs of earlier versions is the mean of the last epoch while it ran."]
    return lines


def _spread(values, otherwise):
    if not values:
        return otherwise
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.2f} %" if deviation is None else f"{mean:.2f} ± {deviation:.2f} %"


@style()
def error_over_depth(experiment, results, folder):
    """Markdown lines and a picture: errors over depth, a curve for each series of runs; means of the seeds."""
    series = {}
    for run, directories in by_network(results):
        found = [errors(directory) for directory in directories if not diverged(directory)]
        if found:
            means = {name: mean_and_deviation([one[name] for one in found])[0] for name in ERRORS}
            series.setdefault(run.series, []).append((run.fields["depth"], means))
    figure, axes = new_figure(10, 4.6, columns=2, sharey=True)
    for axis, name in zip(axes, ERRORS, strict=True):
        for label, points in series.items():
            shown = [(depth, means[name]) for depth, means in sorted(points, key=lambda point: point[0])]
            axis.plot(*zip(*shown, strict=True), marker="o", label=label)
        axis.set(xlabel="hidden layers", title=name.replace("_", " ").capitalize(), ylim=(0, 100))
    axes[0].set_ylabel("error, %; mean of the seeds")
    headline(figure, experiment.title)
    legend(figure)
    path = save(figure, folder / f"{experiment.name}.png")
    return [*error_table(experiment, results), "", f"picture: {path}"]


@style()
def accuracy_over_depth(experiment, results, folder):
    """Markdown lines and a picture: test accuracy over depth, a panel for each data set, a curve for each series.

    Runs that differ in their seed are one point: their mean, with the lowest and the highest where there are several.
    """
    points = {}
    for run, directory in results:
        error = errors(directory)["test_error"]
        key = run.fields["data"], run.series, run.fields["depth"]
        points.setdefault(key, []).append(float("nan") if error is None else 100 - error)
    panels = list(dict.fromkeys(data for data, _, _ in points))
    figure, axes = new_figure(max(6.5, 5.5 * len(panels)), 4.8, columns=len(panels), squeeze=False)
    has_spread = any(len(values) > 1 for values in points.values())
    for axis, data in zip(axes[0], panels, strict=True):
        for number, series in enumerate(dict.fromkeys(name for _, name, _ in points)):
            found = sorted(
                (depth, values) for (d, name, depth), values in points.items() if (d, name) == (data, series)
            )
            depths, means = [depth for depth, _ in found], [np.mean(values) for _, values in found]
            shown = {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number // len(COLOURS) % len(LINES)]}
            axis.plot(depths, means, marker="o", label=series, **shown)
            for depth, values in found:
                if len(values) > 1:  # one seed has no spread
                    axis.errorbar(depth, np.mean(values), yerr=_to_extremes(values), color=shown["color"])
        axis.set(xlabel="depth, layers", ylabel="test accuracy, %", title=data)
    headline(
        figure, f"{experiment.title} ({'mean of the seeds; bars: lowest to highest' if has_spread else 'one seed'})"
    )
    legend(figure)
    path = save(figure, folder / f"{experiment.name}.png")
    return [*_accuracy_table(points), "", f"picture: {path}"]


def _to_extremes(values):
    """From the mean down to the lowest and up to the highest, as `errorbar` takes it."""
    mean = np.mean(values)
    return [[mean - min(values)], [max(values) - mean]]


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


@style()
def training_curves(experiment, results, folder):
    """A line that names a picture: training and test error over the epochs, the skips' residual on a second axis.

    Of each network one run. The training error is that of the epoch while it ran.
    """
    figure, axis = new_figure(7.5, 5.2)
    residual_axis = None
    for number, (run, directory) in enumerate(one_each(results)):
        rows, colour = read_table(directory.metrics), COLOURS[number % len(COLOURS)]
        epochs = [row["epoch"] for row in rows]
        axis.plot(
            epochs, [100 * (1 - row["val_accuracy"]) for row in rows], color=colour, linestyle="-", label=run.title
        )
        axis.plot(epochs, [100 * (1 - row["accuracy"]) for row in rows], color=colour, linestyle=":")
        residual = residual_by_epoch(directory)
        if residual:
            residual_axis = residual_axis or axis.twinx()
            residual_axis.plot(*residual, color=colour, linestyle="--", alpha=0.6)
    axis.set(xlabel="epoch", ylabel="error, % (solid: test, dotted: training)")
    axis.xaxis.get_major_locator().set_params(integer=True)
    headline(figure, f"{experiment.title}: error by epoch")
    legend(figure, least=1)
    if residual_axis:
        residual_axis.set(ylabel="mean residual of the skips (dashed)", ylim=(0, 1))
        residual_axis.grid(False)  # that of the errors is enough
        residual_axis.spines["right"].set_visible(True)
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
    save_figure(figure, path)
    return path
