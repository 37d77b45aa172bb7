"""A picture of a benchmark: latency, size and accuracy of each artefact."""

from matplotlib.figure import Figure

from dirac_keras.files.atomic import atomic_path

LINES = "Blue bars: median of the runs of a batch; grey lines: from there to the 95th percentile."


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
    figure = Figure(figsize=(2.2 + 2.8 * panels, 1.2 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    places = range(len(rows))
    for axis, batch in zip(axes, report.batches, strict=False):
        timed = [row["latency"][str(batch)] for row in rows]
        medians = [one["median_ms"] for one in timed]
        above = [max(one["p95_ms"] - one["median_ms"], 0.0) for one in timed]
        axis.barh(places, medians, xerr=[[0.0] * len(rows), above], color="tab:blue", ecolor="grey")
        axis.set_xlabel(f"ms, batch {batch}")
        if max(medians) > 20 * min(medians):
            axis.set_xscale("log")
    axes[-2].barh(places, [row["size_bytes"] / 1e6 for row in rows], color="tab:grey")
    axes[-2].set_xlabel("MB")
    accuracies = [100 * row["accuracy"] for row in rows]
    axes[-1].plot(accuracies, places, "o", color="tab:green")
    axes[-1].set_xlabel("accuracy, %")
    axes[-1].margins(x=0.2)
    axes[0].set_yticks(list(places), names)
    figure.supxlabel(f"{LINES} Accuracy: of {report.images:,} test images.", fontsize="small", color="dimgrey")
    for axis in axes:
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
    if path is not None:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=120)
    return figure
