"""Section 4.1: thin dense networks on MNIST and Fashion-MNIST, no augmentation, the paper's rate."""

from dirac_keras.experiments.runs import Run

DENSE = {"recipe": "van_dense", "augmentation": "none", "epochs": 10, "keep_checkpoints": 1}
DENSE_FULL = {"epochs": 50}
NETWORKS = {
    "van": {"family": "van"},
    "van0": {"family": "van", "skip_constraint": False},
    "resnet": {"family": "resnet", "layout": "dense"},
    "highway": {"family": "highway"},
    "diracnet": {"family": "diracnet", "layout": "dense"},
    "plain": {"family": "resnet", "layout": "dense", "skips": False},
}
DATA = ("mnist", "fashion_mnist")
DEPTHS = range(1, 31)
SHORT_DEPTHS = (1, 10, 20, 30)
# When the skips are gone, as shares of the training; ours. None: the paper's multipliers.
ENDS = (None, 0.1, 0.25, 0.5, 0.65, 0.75)


def dense_run(data, network, depth, end=None, only_full=False):
    """A dense network of 50 units a layer; entries with the same arguments share its run.

    Args:
        data, network, depth: of the paper's comparison.
        end: share of the training at which the skips are gone, fading linearly. None: the paper's multipliers.
        only_full: bool, whether it is left to `--full`.
    """
    fields = {**DENSE, **NETWORKS[network], "data": data, "depth": depth}
    full = dict(DENSE_FULL)
    series, name = network, f"{data}-{network}{depth}"
    if end is not None:
        fields["phase_out_end"], full["phase_out_end"] = end * fields["epochs"], end * full["epochs"]
        series, name = f"{network}, even until {end:.0%} of the epochs", f"{name}-end{100 * end:.0f}"
    title = f"{data} {network}-{depth}" + series.removeprefix(network)
    return Run(name, fields, title=title, series=series, full=full, only_full=only_full)


def depth_runs():
    """Fig. 1, the deepest first."""
    return tuple(
        dense_run(data, network, depth, only_full=depth not in SHORT_DEPTHS)
        for depth in reversed(DEPTHS)
        for data in reversed(DATA)
        for network in NETWORKS
    )


def timetable_runs(data="mnist", depth=30):
    """VANs whose skips go at several times, between the plain network and those that keep their skips."""
    beside = [dense_run(data, network, depth) for network in ("plain", "van0", "resnet")]
    return (*(dense_run(data, "van", depth, end) for end in ENDS), *beside)
