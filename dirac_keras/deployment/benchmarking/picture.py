"""A picture of a benchmark: latency, size and accuracy of each artefact."""

from dirac_keras.files.amounts import counted, size_text, unit_of
from dirac_keras.pages import COLOURS, headline, new_figure, save_figure, style

LINES = "Blue bars: median of the runs of a batch; grey lines: from there to the 95th percentile."


@style()
def plot_benchmark(report, path=None):
    """Bars for each artefact: latency at each batch (median, a grey line to the 95th percentile), size, accuracy.

    Args:
        report: `BenchmarkReport`.
        path: of the PNG; None writes none.

    Returns: `matplotlib.figure.Figure`.
    """
    rows = report.rows[::-1]  # bars are drawn upwards
    names = [" ".join(filter(None, (report.short(row["artefact"]), row["precision"]))) for row in rows]
    panels = len(report.batches) + 2
    figure, axes = new_figure(2.2 + 2.8 * panels, 1.9 + 0.42 * len(rows), columns=panels, sharey=True, squeeze=False)
    axes = axes[0]
    places = range(len(rows))
    for axis, batch in zip(axes, report.batches, strict=False):
        timed = [row["latency"][str(batch)] for row in rows]
        medians = [one["median_ms"] for one in timed]
        above = [max(one["p95_ms"] - one["median_ms"], 0.0) for one in timed]
        axis.barh(places, medians, xerr=[[0.0] * len(rows), above], color=COLOURS[0], ecolor="grey", capsize=0)
        axis.set_title(f"Time of {counted(batch, 'image')}")
        axis.set_xlabel("ms")
        if max(medians) > 20 * min(medians):
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
            axis.set_xlabel("ms (logarithmic)")
    sizes = [row["size_bytes"] for row in rows]
    unit = unit_of(max(sizes))
    bars = axes[-2].barh(places, [size / unit[1] for size in sizes], color=COLOURS[-1])
    axes[-2].bar_label(bars, [size_text(size, unit) for size in sizes], padding=3, fontsize="small")
    axes[-2].margins(x=0.2)
    axes[-2].set(xlabel=unit[0], title="Size of the file")
    _draw_accuracies(axes[-1], [100 * row["accuracy"] for row in rows])
    axes[0].set_yticks(list(places), names)
    axes[0].set_ylim(-0.6, len(rows) - 0.2)  # the number of an accuracy stands above its dot
    headline(figure, "Artefacts of one network side by side: time, size, accuracy")
    figure.supxlabel(f"{LINES} Accuracy: of {counted(report.images, 'test image')}.", fontsize="small", color="dimgrey")
    for axis in axes:
        axis.grid(False, axis="y")
    return save_figure(figure, path)


def _draw_accuracies(axis, accuracies):
    """A dot each with its number; the axis is as wide as a point at least, and there is no accuracy beyond 100 %."""
    axis.plot(accuracies, range(len(accuracies)), "o", color=COLOURS[2], markersize=5)
    for place, accuracy in enumerate(accuracies):
        axis.annotate(
            f"{accuracy:.2f}", (accuracy, place), (0, 6), textcoords="offset points", ha="center", size="small"
        )
    low, high = min(accuracies), max(accuracies)
    slack = max(high - low, 1.0) * 0.5
    low, high = max(low - slack, 0.0), min(high + slack, 100.0)
    axis.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))  # a dot at 0 or 100 % is whole
    axis.set(xlabel="%", title="Accuracy")
