"""The curves of several runs in one picture."""

import pathlib

from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted
from dirac_keras.files.tables import read_table
from dirac_keras.pages import in_legend, legend, new_figure, save_figure, style
from dirac_keras.run_folders.reading import METRICS

SUFFIX = ".png"
HELD_OUT = "val_"
MOST = 21  # as many lines as the style tells apart
NAMES = {"accuracy": "accuracy", "f1_macro": "F1, mean of the labels", "mae": "mean absolute error"}


@style()
def plot_runs(rows, labels, path):
    """Loss and the task's metric over the epochs on the validation images, a line for each run that has measured them.

    Args:
        rows: list of dicts of `read_run`.
        labels: list of str, what the legend calls them.
        path: of the PNG.

    Returns: two lists of labels of runs that are left out: those whose figures are of training images, or none; and
        those of another task, whose losses and metrics are of other kinds than those of the most runs.
    Raises: UserError: if there is nothing to draw, or the file cannot be written.
    """
    from matplotlib.ticker import MaxNLocator

    tables = [read_table(pathlib.Path(row["path"]) / METRICS, "epoch") for row in rows]
    known = [one for one in zip(rows, labels, tables, strict=True) if _is_held_out(one[2])]
    metrics = [row["metric"] for row, _, _ in known]
    metric = max(metrics, key=metrics.count, default=None)
    drawn = [one for one in known if one[0]["metric"] == metric]
    if not drawn:
        raise UserError(
            "picture: no run has an epoch with figures of validation images. Leave it out, or train with `validation`."
        )
    if len(drawn) > MOST:
        raise UserError(f"picture: {MOST} runs can be told apart. Received {len(drawn)}: give a folder with fewer.")
    figure, axes = new_figure(9.0, 4.4, columns=2)
    for axis, name, what in zip(axes, ("loss", metric), ("loss", NAMES[metric]), strict=True):
        for _, label, table in drawn:
            points = [
                (one["epoch"], one[HELD_OUT + name]) for one in table if isinstance(one.get(HELD_OUT + name), float)
            ]
            if points:
                axis.plot(*zip(*points, strict=True), label=in_legend(label), marker="o" if len(points) == 1 else None)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(xlabel="epoch", ylabel=what, title=f"Held-out {what}, {counted(len(drawn), 'run')}")
    legend(figure)
    save_figure(figure, path)
    told = [label for _, label, _ in known]
    others = [label for row, label, _ in known if row["metric"] != metric]
    return [label for label in labels if label not in told], others


def _is_held_out(table):
    """Whether a run's table has figures of validation images: those of training images are no substitute for them."""
    return any(name.startswith(HELD_OUT) for row in table for name in row)
