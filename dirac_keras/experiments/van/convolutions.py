"""Section 4.2: convolutional networks on CIFAR-10 and CIFAR-100."""

import dataclasses

from dirac_keras.experiments.runs import Run

CONV = {"recipe": "quick", "epochs": 8, "keep_checkpoints": 1}
BRIEF = {**CONV, "epochs": 4, "max_train": 20_000}
CONV_FULL = {"recipe": "van", "epochs": 165, "max_train": None}
NETWORKS = {
    "van": {"family": "van", "layout": "conv"},
    "van0": {"family": "van", "layout": "conv", "skip_constraint": False},
    "resnet": {"family": "resnet", "layout": "van"},
    "plain": {"family": "resnet", "layout": "van", "skips": False},
    "resnet_cifar": {"family": "resnet"},
    "highway": {"family": "highway", "layout": "conv"},
    "diracnet": {"family": "diracnet"},
    "diracnet_wide": {"family": "diracnet", "width": 2.0},
    "wrn10": {"family": "wide_resnet", "width": 10.0},
}
# In full, the training of the paper that a figure of table 1 comes from; He et al.'s is that of the VANs.
OWN_FULL = {
    "diracnet": {"recipe": "cifar", "epochs": 200, "max_train": None},
    "diracnet_wide": {"recipe": "cifar", "epochs": 200, "max_train": None},
    "wrn10": {"recipe": "wide_resnet", "epochs": 200, "max_train": None},
}
COMPARED = (("resnet", ""), ("van", ""), ("van", "-end2"), ("van0", ""), ("plain", ""))
# A day on two cores, even for a brief run; and a depth between two others, 20 minutes.
LEFT_TO_FULL = (("wrn10", 28), *((network, 66) for network, _ in COMPARED))
# Timetable of the phase-out: suffix of the run's name -> epoch of the short run at which the skips are gone, fading
# linearly; None: the paper's multipliers. 2.6 of 4 epochs is 107 of 165: alpha once an epoch with the rate of section
# 4.1, if that rate never falls, is this but for its first nine epochs (docs/van.md).
TIMETABLES = {"": None, "-end2": 2, "-end2.6": 2.6, "-end3": 3, "-end4": 4, "-end7": 7}
# Why a VAN of the paper's values is no better than the plain network, measured: docs/van.md.
AT_ONCE = (
    "with the paper's values as they stand the skips are gone after a few steps; in its Fig. 2 they last (docs/van.md)"
)
DEPTHS = {"cifar10": (10, 18, 26, 34, 42, 50, 66, 82), "cifar100": (10, 18, 26, 34)}


def conv_run(network, depth, timetable="", data="cifar10", paper=None, length=CONV):
    """A convolutional network; entries with the same arguments share its run."""
    end = TIMETABLES[timetable]
    title = "the paper's, at once" if end is None else f"linear until {100 * end / length['epochs']:g}% of the training"
    label = f"{network}-{depth}" if data == "cifar10" else f"{network}-{depth}, {data}"
    full = OWN_FULL.get(network, CONV_FULL)
    fields = {} if end is None else {"phase_out_end": end}
    stretched = {name: epoch * full["epochs"] / length["epochs"] for name, epoch in fields.items()}
    return Run(
        f"{data}-{network}{depth}{timetable}",
        {**length, **NETWORKS[network], "data": data, "depth": depth, **fields},
        paper or {},
        title=f"{label}, {title}" if timetable else label,
        series=f"{network}, {title}" if timetable else network,
        full=full | stretched,
        full_name="-".join([data, f"{network}{depth}", *(f"end{epoch:g}" for epoch in stretched.values())]),
        cause=AT_ONCE if network == "van" and end is None else "",
    )


def at_papers_rate(run):
    """A run with a peak rate of 0.1; that of `quick`, 0.3, was chosen for DiracNets."""
    return dataclasses.replace(run, name=f"{run.name}-rate01", fields={**run.fields, "learning_rate": 0.1})


def brief_run(network, depth, timetable="", data="cifar10", paper=None, cause=""):
    """A run of Fig. 2, Fig. 3 or table 1: they are many and up to 164 layers deep; at the paper's rate."""
    run = at_papers_rate(conv_run(network, depth, timetable, data, paper, BRIEF))
    only_full = (network, depth) in LEFT_TO_FULL
    return dataclasses.replace(run, name=f"{run.name}-brief", only_full=only_full, cause=cause or run.cause)


def depth_runs(data):
    """Fig. 2 or Fig. 3."""
    return tuple(
        brief_run(network, depth, timetable, data) for network, timetable in COMPARED for depth in DEPTHS[data]
    )
