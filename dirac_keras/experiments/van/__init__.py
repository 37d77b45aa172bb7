"""Monti, Tootoonian & Cao (VAN), "Avoiding degradation in deep feed-forward networks by phasing out skip-connections".

The paper trains CIFAR-10 for 165 epochs. Here the networks of a table share the `quick` recipe and few epochs; in full
each has the training of the paper that its figure comes from.
"""

from dirac_keras.experiments.report import accuracy_over_depth, depth_and_curves, error_table, table_and_curves
from dirac_keras.experiments.runs import Experiment
from dirac_keras.experiments.van import dense
from dirac_keras.experiments.van.convolutions import COMPARED, at_papers_rate, brief_run, conv_run, depth_runs
from dirac_keras.experiments.van.removal import removal
from dirac_keras.experiments.van.table1 import table1_report, table1_runs

_ENTRIES = (
    Experiment(
        "fig1",
        "Test accuracy over depth of six thin dense architectures, MNIST and Fashion-MNIST",
        "Fig. 1",
        dense.depth_runs(),
        accuracy_over_depth,
        side_by_side=True,
        artefacts=("Fig. 1",),
        full_seeds=10,
    ),
    Experiment(
        "removal",
        "How the skip connections of a dense VAN-30 disappear, and the plain network that remains, Fashion-MNIST",
        "section 4.1 and the right of Fig. 2",
        (dense.dense_run("fashion_mnist", "van", 30),),
        removal,
        looks_into=True,
        seeds=1,
        full_seeds=1,
    ),
    Experiment(
        "timetable",
        "When the skips of a dense VAN-30 should go, MNIST",
        "section 4.1; the even timetables are ours",
        dense.timetable_runs(),
        table_and_curves,
        side_by_side=True,
    ),
    Experiment(
        "fig2",
        "CIFAR-10: test accuracy over depth, and training curves of 26 layers with the residual of the skips",
        "Fig. 2",
        depth_runs("cifar10"),
        depth_and_curves(26),
        artefacts=("Fig. 2",),
    ),
    Experiment(
        "short",
        "VAN, plain network and ResNet of the same widths and epochs on CIFAR-10, several timetables of the phase-out",
        "Fig. 2, a part of it; the linear timetables are ours",
        (
            *(conv_run(network, depth) for network in ("van", "plain") for depth in (18, 26)),
            conv_run("resnet", 18),
            *(conv_run("van", 26, timetable) for timetable in ("-end2", "-end4")),
        ),
        table_and_curves,
    ),
    Experiment(
        "rate",
        "The same at a third of the learning rate, the paper's, with several timetables",
        "section 4.2; the timetables but the first are ours",
        tuple(
            at_papers_rate(conv_run(*network))
            for network in (("resnet", 18), ("van", 18), ("plain", 18), ("van", 18, "-end4"), ("van", 18, "-end7"))
        ),
        table_and_curves,
    ),
    Experiment(
        "end",
        "VANs of 26 and 50 layers on CIFAR-10, skips gone at once, or after half to three quarters of the training",
        "Fig. 2, if the 120th of its iterations is an epoch of 165",
        tuple(
            brief_run(network, depth, timetable)
            for depth in (26, 50)
            for network, timetable in (*COMPARED[:3], ("van", "-end2.6"), ("van", "-end3"), COMPARED[-1])
        ),
        error_table,
    ),
    Experiment(
        "table1",
        "Errors on CIFAR-10",
        "table 1",
        table1_runs("cifar10"),
        table1_report("cifar10"),
        artefacts=("Table 1",),
    ),
    # Last: those without these data have all the rest by then.
    Experiment(
        "fig3",
        "CIFAR-100: test accuracy over depth, and training curves of 18 layers with the residual of the skips",
        "Fig. 3",
        depth_runs("cifar100"),
        depth_and_curves(18),
        artefacts=("Fig. 3",),
    ),
    Experiment(
        "table1-cifar100",
        "Errors on CIFAR-100",
        "table 1, the last column",
        table1_runs("cifar100"),
        table1_report("cifar100"),
        artefacts=("Table 1",),
    ),
)
EXPERIMENTS = {entry.name: entry for entry in _ENTRIES}
