"""The pictures of a report. No name of a class is in them: names are text of the page."""

import numpy as np

from dirac_keras.evaluation.corruptions.table import STRENGTHS
from dirac_keras.pages import COLOURS, legend, new_figure, plain_numbers, style

MOST_BLOCKS = 200  # a side: more classes than that are drawn together
MOST_BARS = 24  # with a number each


@style()
def plot_reliability(rows):
    """Accuracy over confidence, and how many images there are.

    Args:
        rows: list of dicts, the `Bin`s of `record["calibration"]["reliability"]`.
    """
    filled = [row for row in rows if row["images"]]
    figure, (above, below) = new_figure(5.2, 5.2, rows=2, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="#777777", linestyle="--", label="right as often as it says")
    places, accuracies = [row["confidence"] for row in filled], [row["accuracy"] for row in filled]
    above.vlines(places, places, accuracies, color=COLOURS[1], linewidth=3, alpha=0.5, label="gap")
    above.plot(places, accuracies, marker="o", linestyle="-", color=COLOURS[0], label="this network")
    above.set(
        ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1.02), title="Share of right answers by confidence"
    )
    widths = [row["high"] - row["low"] for row in rows]
    below.bar([row["low"] for row in rows], [row["images"] for row in rows], widths, align="edge", color=COLOURS[0])
    below.set(xlabel="confidence: probability of the class it gives", ylabel="images")
    legend(figure, [above])
    return figure


@style()
def plot_confusion(matrix):
    """The share of each true class's images that is given each class, on a logarithmic scale.

    Args:
        matrix: int array `(classes, classes)`. Of more than 200 classes, neighbours are drawn as one block
            (`block_of`), which has the colour of its largest share.
    """
    from matplotlib.colors import LogNorm

    matrix = np.asarray(matrix, "float64")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    step = block_of(len(shares))
    if step > 1:
        side = -len(shares) % step
        padded = np.pad(shares, (0, side))
        blocks = len(padded) // step
        shares = padded.reshape(blocks, step, blocks, step).max(axis=(1, 3))
    lowest = max(shares[shares > 0].min(initial=1.0), 1e-3)
    figure, axis = new_figure(6.4, 5.6)
    axis.grid(False)
    drawn = axis.imshow(
        np.where(shares > 0, np.maximum(shares, lowest), np.nan),
        norm=LogNorm(min(lowest, 0.5), 1.0),
        extent=(-0.5, len(matrix) - 0.5, len(matrix) - 0.5, -0.5),
        interpolation="nearest",
        cmap="viridis_r",  # on white what is rare is pale
    )
    axis.set(
        xlabel="class it is given, by number", ylabel="true class, by number", title="What each class is taken for"
    )
    plain_numbers(figure.colorbar(drawn, ax=axis, label="share of the true class").ax.yaxis)
    return figure


def block_of(classes):
    """How many neighbouring classes one block of `plot_confusion` stands for, on each side."""
    return -(-classes // MOST_BLOCKS)


@style()
def plot_corruptions(found, other=None):
    """Accuracy by strength, a panel each corruption.

    Args:
        found: dict, `record["corruptions"]`.
        other: likewise of the network it is compared with; or None.
    """
    names = list(found["corruptions"])
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, axes = new_figure(
        2.4 * columns + 0.6, 1.75 * rows + 0.9, rows, columns, sharex=True, sharey=True, squeeze=False
    )
    both = [(found, "this network", COLOURS[0]), *([(other, "the other", COLOURS[1])] if other else [])]
    for axis, name in zip(axes.flat, names, strict=False):
        for one, label, colour in both:
            line = [one["clean"]["accuracy"], *one["corruptions"][name]["accuracy"]]
            axis.plot([0, *STRENGTHS], line, marker="o", linestyle="-", color=colour, label=label)
        axis.set_title(name.replace("_", " "), fontsize=9)
        axis.set(ylim=(0, 1), xticks=(0, *STRENGTHS))
    for place, axis in enumerate(axes.flat):
        axis.set_visible(place < len(names))
        axis.tick_params(labelbottom=place + columns >= len(names))  # the last of its column
    figure.supylabel("share of right answers", fontsize=9)
    legend(figure, [axes.flat[0]])
    return figure


@style()
def plot_values(rows):
    """Root mean squared error of each value over the deviation of its true values: 1 is always answering the mean.

    Args:
        rows: list of dicts, `record["per_value"]`.
    """
    is_long = len(rows) > MOST_BARS
    figure, axis = new_figure(5.6, 0.5 * min(len(rows), MOST_BARS) + 1.4)
    shares = [row["root_mean_squared_error"] / row["deviation"] if row["deviation"] else 0.0 for row in rows]
    axis.barh(range(1, len(rows) + 1), shares, color=COLOURS[0])
    axis.axvline(1.0, color="#777777", linestyle="--")
    axis.set(xlabel="error / deviation of the true values (1: always answering the mean)", ylabel="value, by number")
    axis.set(title="Error of each value")
    if not is_long:
        axis.set_yticks(range(1, len(rows) + 1))
    axis.invert_yaxis()
    return figure
