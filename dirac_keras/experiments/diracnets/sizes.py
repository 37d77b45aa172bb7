"""Fig. 1: accuracy of DiracNets and ResNets over depth and width, the area of a point as its parameters."""

import dataclasses

import numpy as np

from dirac_keras.experiments.diracnets.networks import DEPTHS, cifar10_run
from dirac_keras.experiments.metrics import measure_run
from dirac_keras.experiments.report import by_network, save
from dirac_keras.experiments.runs import Experiment
from dirac_keras.pages import COLOURS, legend, new_figure, style

WIDTHS = (1, 2, 4)
AREA = 18  # square points for a million parameters
SMALLEST = 4  # that a point is drawn with, so that it can be seen
# An hour and more on two cores, even for a brief run.
LONGEST, WIDEST = 34, 2


def accuracy_over_size(experiment, results, folder):
    """Markdown lines and a picture: median accuracy of the seeds, and parameters, over depth and width."""
    points = {}
    for run, directories in by_network(results):
        found = [measure_run(directory, ("test_error", "parameters")) for directory in directories]
        found = [one for one in found if one["test_error"] is not None]
        if found:
            median = float(np.median([100 - one["test_error"] for one in found]))
            points.setdefault(run.series, {})[run.fields["depth"]] = (median, found[0]["parameters"], len(found))
    if not points:
        return ["All runs diverged."]
    return [*_table(points), "", f"picture: {save(_picture(points), folder / f'{experiment.name}.png')}"]


def _table(points):
    """A row a width, median and parameters of each depth; then how many seeds they are of."""
    depths = sorted({depth for row in points.values() for depth in row})
    lines = ["| accuracy, % (parameters) | " + " | ".join(map(str, depths)) + " |", "|---" * (len(depths) + 1) + "|"]
    for series, row in points.items():
        cells = [f"{row[depth][0]:.2f} ({row[depth][1]:.2f} M)" if depth in row else "" for depth in depths]
        lines.append(f"| {series} | " + " | ".join(cells) + " |")
    seeds = sorted({count for row in points.values() for *_, count in row.values()})
    return [*lines, "", f"Median of the seeds; seeds: {' to '.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))}."]


@style()
def _picture(points):
    figure, axis = new_figure(8, 6)
    networks = list(dict.fromkeys(series.split(",")[0] for series in points))
    for series, row in points.items():
        depths, values = zip(*sorted(row.items()), strict=True)
        network, width = series.split(", width ")
        shown = {"color": COLOURS[networks.index(network)], "alpha": 0.35 + 0.3 * WIDTHS.index(int(width))}
        accuracies, parameters, _ = zip(*values, strict=True)
        axis.plot(depths, accuracies, linestyle="-", linewidth=1, label=series, **shown)
        axis.scatter(depths, accuracies, [max(SMALLEST, AREA * millions) for millions in parameters], **shown)
    axis.set(
        xlabel="depth, layers",
        ylabel="test accuracy, % (median of the seeds)",
        title="Accuracy over depth and width; area of a point: parameters",
        xticks=sorted({depth for row in points.values() for depth in row}),
    )
    legend(figure)
    return figure


def _run(network, depth, width):
    run = cifar10_run(network, depth, width)
    if width == 1 and network != "resnet":
        return run  # that of `depth`
    return dataclasses.replace(run, only_full=depth > LONGEST or width > WIDEST)


FIG1 = Experiment(
    "fig1",
    "Accuracy of DiracNet and ResNet over depth and width, the area of a point as its parameters, CIFAR-10",
    "Fig. 1",
    (
        *(_run(network, depth, width) for width in WIDTHS for network in ("dirac", "resnet") for depth in DEPTHS),
        *(_run("plain", depth, 1) for depth in DEPTHS),
    ),
    accuracy_over_size,
    artefacts=("Fig. 1",),
)
