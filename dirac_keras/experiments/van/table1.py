"""Table 1: VANs beside networks of other papers, whose figures come from the training of their own paper."""

import dataclasses

from dirac_keras.experiments.endings import diverged
from dirac_keras.experiments.report import by_network, errors, mean_and_deviation
from dirac_keras.experiments.van.convolutions import brief_run

COLUMNS = ("cifar10", "cifar100")
# Test errors on CIFAR-10 and CIFAR-100 in percent; of five runs of the paper's own networks: best, mean, deviation.
TABLE1 = {
    ("van0", 26): ((6.29, 6.40, 0.16), (27.04, 27.42, 0.26)),
    ("van0", 34): ((6.28, 6.45, 0.14), (26.46, 26.81, 0.31)),
    ("van", 18): ((6.23, 6.49, 0.16), (28.20, 28.42, 0.36)),
    ("van", 26): ((6.08, 6.35, 0.21), (27.70, 28.01, 0.39)),
    ("diracnet", 34): ((7.10,), None),
    ("diracnet_wide", 34): ((5.60,), (26.72,)),
    ("highway", 19): ((7.54,), (32.39,)),
    ("resnet_cifar", 164): ((5.46,), (24.33,)),
    ("wrn10", 28): ((4.00,), (19.25,)),
}
# Of networks that the table quotes and this package has not got: errors on CIFAR-10 and CIFAR-100.
QUOTED = {"Highway-32": (8.80, None), "ELU-18": (6.55, 24.28), "DenseNet-160": (3.46, 17.18)}
CAUSES = {
    "highway": "theirs has no BatchNormalization and a training of its own, which is not stated in full; ours is that "
    "of the VANs",
    "resnet_cifar": "theirs has bottleneck blocks of three layers and a training of its own paper, ours blocks of two "
    "and the training of the VANs",
}


def table1_runs(data):
    """The networks with a figure on a data set, each with the paper's mean where there is one."""
    column = COLUMNS.index(data)
    runs = []
    for network, found in TABLE1.items():
        if found[column] is None:
            continue
        run = brief_run(
            *network, data=data, paper={"test_error": _mean(found[column])}, cause=CAUSES.get(network[0], "")
        )
        deviation = {"test_error": found[column][2]} if len(found[column]) > 1 else {}
        runs.append(dataclasses.replace(run, paper_deviation=deviation))
    return tuple(runs)


def _mean(figures):
    return figures[1] if len(figures) > 1 else figures[0]


def table1_report(data):
    """A report: test errors as the paper prints them, best, mean and deviation over seeds, theirs beside ours."""
    column = COLUMNS.index(data)
    theirs = {(run.series, run.fields["depth"]): run for run in table1_runs(data)}
    figures = {key: TABLE1[key][column] for key in theirs}

    def report(experiment, results, folder):
        lines = ["| network | test error | paper | seeds | recipe, epochs |", "|---|---|---|---|---|"]
        for run, directories in by_network(results):
            found = [errors(one)["test_error"] for one in directories if not diverged(one)]
            ours = _text((min(found), *mean_and_deviation(found))) if found else "diverged"
            paper = figures.get((run.series, run.fields["depth"]), ())
            config = directories[0].read_config()
            trained = f"{config.recipe}, {config.epochs}"
            lines.append(f"| {run.title} | {ours} | {_text(paper)} | {len(found)} | {trained} |")
        quoted = [f"{name} {found[column]:.2f} %" for name, found in QUOTED.items() if found[column] is not None]
        return [*lines, "", f"The paper quotes beside them: {', '.join(quoted)}."]

    return report


def _text(figures):
    """`best (mean ± deviation)`, or the one figure there is."""
    if len(figures) == 3 and figures[2] is not None:
        return f"{figures[0]:.2f} % ({figures[1]:.2f} ± {figures[2]:.2f})"
    return f"{figures[0]:.2f} %" if figures else ""
