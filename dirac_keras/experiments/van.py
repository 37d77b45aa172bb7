"""Monti, Tootoonian & Cao (VAN), "Avoiding degradation in deep feed-forward networks by phasing out skip-connections".

The paper trains CIFAR-10 for 165 epochs. Here the networks of a table share the `quick` recipe and few epochs.
"""

import dataclasses

import numpy as np

from dirac_keras.callbacks import plots
from dirac_keras.experiments.report import accuracy_over_depth, depth_and_curves, error_table, errors, table_and_curves
from dirac_keras.experiments.runs import Experiment, Run
from dirac_keras.files.keras_file import load_model
from dirac_keras.files.tables import read_table
from dirac_keras.folding import assert_plain, fold
from dirac_keras.graph.casting import to_dtype
from dirac_keras.phase_out import seal_skips

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
COMPARED = (("resnet", ""), ("van", ""), ("van", "-end2"), ("van0", ""), ("plain", ""))
# A day on two cores, even for a brief run; and a depth between two others, 20 minutes.
LEFT_TO_FULL = (("wrn10", 28), *((network, 66) for network, _ in COMPARED))
# Timetable of the phase-out: suffix of the run's name -> fields, title.
TIMETABLES = {
    "": ({}, "the paper's, at once"),
    "-end2": ({"phase_out_end": 2}, "linear until epoch 2"),
    "-end3": ({"phase_out_end": 3}, "linear until epoch 3"),
    "-end4": ({"phase_out_end": 4}, "linear until epoch 4"),
    "-end7": ({"phase_out_end": 7}, "linear until epoch 7"),
}


def conv_run(network, depth, timetable="", data="cifar10", paper=None, length=CONV):
    """A convolutional network; entries with the same arguments share its run."""
    fields, title = TIMETABLES[timetable]
    label = f"{network}-{depth}" if data == "cifar10" else f"{network}-{depth}, {data}"
    stretched = {name: epoch * CONV_FULL["epochs"] / length["epochs"] for name, epoch in fields.items()}
    return Run(
        f"{data}-{network}{depth}{timetable}",
        {**length, **NETWORKS[network], "data": data, "depth": depth, **fields},
        paper or {},
        title=f"{label}, {title}" if timetable else label,
        series=f"{network}, {title}" if timetable else network,
        full=CONV_FULL | stretched,
        full_name="-".join([data, f"{network}{depth}", *(f"end{epoch:g}" for epoch in stretched.values())]),
    )


def at_papers_rate(run):
    """A run with a peak rate of 0.1; that of `quick`, 0.3, was chosen for DiracNets."""
    return dataclasses.replace(run, name=f"{run.name}-rate01", fields={**run.fields, "learning_rate": 0.1})


def brief_run(network, depth, timetable="", data="cifar10", paper=None):
    """A run of Fig. 2, Fig. 3 or table 1: they are many and up to 164 layers deep; at the paper's rate."""
    run = at_papers_rate(conv_run(network, depth, timetable, data, paper, BRIEF))
    return dataclasses.replace(run, name=f"{run.name}-brief", only_full=(network, depth) in LEFT_TO_FULL)


# Section 4.1: thin networks, no augmentation, the paper's rate. It trains 50 epochs with ten seeds.
DENSE = {"recipe": "van_dense", "augmentation": "none", "epochs": 10, "keep_checkpoints": 1}
DENSE_NETWORKS = {
    "van": {"family": "van"},
    "van0": {"family": "van", "skip_constraint": False},
    "resnet": {"family": "resnet", "layout": "dense"},
    "highway": {"family": "highway"},
    "diracnet": {"family": "diracnet", "layout": "dense"},
    "plain": {"family": "resnet", "layout": "dense", "skips": False},
}
DENSE_DATA = ("mnist", "fashion_mnist")
DENSE_DEPTHS = (1, 10, 20, 30)


GONE = 1e-3  # of the mean residual


def dense_run(data, network, depth):
    """A dense network of 50 units a layer."""
    fields = {**DENSE, **DENSE_NETWORKS[network], "data": data, "depth": depth}
    return Run(
        f"{data}-{network}{depth}",
        fields,
        title=f"{data} {network}-{depth}",
        series=network,
        full={"epochs": 50},
    )


def _paper(test_error):
    return {"test_error": test_error}


def removal(experiment, results, folder):
    """A report: the residual by step, and the trained network sealed, folded, proven plain and compared."""
    lines = []
    for run, directory in results:
        model, _ = load_model(directory.model)
        lines.append(f"{run.title}: test error {errors(directory)['test_error']:.2f} %.")
        gone = next((row["step"] for row in read_table(directory.skips) if row["residual"] < GONE), None)
        lines.append(
            f"The mean residual of the skips falls below {GONE:g} "
            + (f"at step {gone:.0f}." if gone is not None else "at no step.")
        )
        path = folder / f"{experiment.name}-{run.name}.png"
        plots.plot_skips(read_table(directory.skips), path)
        lines += [*_folded_lines(model, _test_images(directory)), f"picture: {path}"]
    return lines


def _folded_lines(model, images):
    try:
        seal_skips(model)  # is sealed already unless training ended with a skip left
    except ValueError as error:
        return [f"Not sealed: {error}"]
    folded, _ = fold(model, verify=False)
    assert_plain(folded)
    exact = to_dtype(model, "float64")
    exactly_folded, _ = fold(exact, verify=False)
    truth, model_outputs, folded_outputs, exact_outputs = (
        network.predict(images, verbose=0) for network in (exact, model, folded, exactly_folded)
    )

    def difference(first, second):
        return f"{np.max(np.abs(first - second)) / np.max(np.abs(truth)):.1e}"

    return [
        f"Sealed and folded: {len(folded.layers)} layers of {len(model.layers)}, no addition left (`assert_plain`). "
        f"Largest difference of the outputs on {len(images)} test images, relative to the largest output: "
        f"{difference(folded_outputs, model_outputs)} in float32, {difference(exact_outputs, truth)} in float64. "
        f"From the float64 outputs the unfolded network's are {difference(model_outputs, truth)} away in float32, "
        f"the folded one's {difference(folded_outputs, truth)}: rounding, not folding.",
    ]


def _test_images(directory, limit=2000):
    from pipelines import load_splits

    batches = [np.asarray(images) for images, _ in load_splits(**directory.read_config().data_arguments()).test()]
    return np.concatenate(batches)[:limit]


FIG1 = Experiment(
    "fig1",
    "Test accuracy over depth of six thin dense architectures, MNIST and Fashion-MNIST",
    "Fig. 1",
    tuple(
        dense_run(data, network, depth)
        for depth in reversed(DENSE_DEPTHS)
        for data in reversed(DENSE_DATA)
        for network in DENSE_NETWORKS
    ),
    accuracy_over_depth,
    side_by_side=True,
    artefacts=("Fig. 1",),
    full_seeds=10,
)
DEPTHS = {"cifar10": (10, 18, 26, 34, 42, 50, 66, 82), "cifar100": (10, 18, 26, 34)}
# Test errors of table 1 on CIFAR-10 and CIFAR-100.
TABLE1 = {
    ("van0", 26): (6.29, 27.04),
    ("van0", 34): (6.28, 26.46),
    ("van", 18): (6.23, 28.20),
    ("van", 26): (6.08, 27.70),
    ("diracnet", 34): (7.10, None),
    ("diracnet_wide", 34): (5.60, 26.72),
    ("highway", 19): (7.54, 32.39),
    ("resnet_cifar", 164): (5.46, 24.33),
    ("wrn10", 28): (4.00, 19.25),
}


def depth_runs(data):
    return tuple(
        brief_run(network, depth, timetable, data) for network, timetable in COMPARED for depth in DEPTHS[data]
    )


def table1_runs(data):
    column = ("cifar10", "cifar100").index(data)
    papers = {network: {} if errors[column] is None else _paper(errors[column]) for network, errors in TABLE1.items()}
    return tuple(brief_run(*network, data=data, paper=paper) for network, paper in papers.items())


EXPERIMENTS = {
    "fig1": FIG1,
    "removal": Experiment(
        "removal",
        "How the skip connections of a dense VAN-30 disappear, and the plain network that remains, Fashion-MNIST",
        "section 4.1 and the right of Fig. 2",
        (dense_run("fashion_mnist", "van", 30),),
        removal,
        seeds=1,
        full_seeds=1,
    ),
    "fig2": Experiment(
        "fig2",
        "CIFAR-10: test accuracy over depth, and training curves of 26 layers with the residual of the skips",
        "Fig. 2",
        depth_runs("cifar10"),
        depth_and_curves(26),
    ),
    "short": Experiment(
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
    "rate": Experiment(
        "rate",
        "The same at a third of the learning rate, the paper's, with several timetables",
        "section 4.2; the timetables but the first are ours",
        tuple(
            at_papers_rate(conv_run(*network))
            for network in (("resnet", 18), ("van", 18), ("plain", 18), ("van", 18, "-end4"), ("van", 18, "-end7"))
        ),
        table_and_curves,
    ),
    "end": Experiment(
        "end",
        "VANs of 26 and 50 layers on CIFAR-10, skips gone at once, after half, after three quarters of the training",
        "Fig. 2, if the 120th of its iterations is an epoch of 165",
        tuple(
            brief_run(network, depth, timetable)
            for depth in (26, 50)
            for network, timetable in (*COMPARED[:3], ("van", "-end3"), COMPARED[-1])
        ),
        error_table,
    ),
    "table1": Experiment("table1", "Errors on CIFAR-10", "table 1", table1_runs("cifar10"), error_table),
    # Last: those without these data have all the rest by then.
    "fig3": Experiment(
        "fig3",
        "CIFAR-100: test accuracy over depth, and training curves of 18 layers with the residual of the skips",
        "Fig. 3",
        depth_runs("cifar100"),
        depth_and_curves(18),
    ),
    "table1-cifar100": Experiment(
        "table1-cifar100", "Errors on CIFAR-100", "table 1, the last column", table1_runs("cifar100"), error_table
    ),
}
