"""Oyedotun et al., "Revisiting the Training of Very Deep Neural Networks without Skip Connections".

The paper trains 300 epochs (400 for the convolutional network) at a rate it gives as "in the range [0.0001-0.1]". Here
all runs of a table share one rate, one schedule and one budget of epochs (docs/deviations.md).
"""

import dataclasses

from dirac_keras.diagnostics import collect_responses, measure, plot_depth, plot_responses
from dirac_keras.experiments.report import error_over_depth, error_table, one_each
from dirac_keras.experiments.runs import Experiment, Run

DENSE = {
    "family": "plainnet",
    "layout": "dense",
    "recipe": "plainnet",
    "depth": 100,
    "epochs": 60,
    "learning_rate": 0.01,
    "keep_checkpoints": 1,
}
CONV50 = {
    "family": "plainnet",
    "layout": "conv50",
    "depth": 50,
    "data": "cifar10",
    "recipe": "plainnet",
    "epochs": 15,
    "precision": "auto",
}
DEPTHS = (3, 5, 10, 15, 20, 40, 50, 100)
TITLES = {
    "naive": "naive",
    "bn": "BN",
    "lrelu": "LReLU",
    "maxnorm": "max-norm",
    "bn+lrelu": "BN + LReLU",
    "bn+maxnorm": "BN + max-norm",
    "lrelu+maxnorm": "LReLU + max-norm",
    "proposed": "proposed: all three",
}


def dense_run(data, scenario, depth=100, initializer="paper", paper=None):
    """A dense network of the paper; the same arguments give the same name, so entries share its run."""
    name = f"{data}-{depth}-{scenario}" + ("" if initializer == "paper" else f"-{initializer}")
    fields = {**DENSE, "data": data, "scenario": scenario, "depth": depth, "kernel_initializer": initializer}
    series = TITLES[scenario] + ("" if initializer == "paper" else f", {initializer}")
    return Run(name, fields, paper or {}, title=f"{data}, {depth} layers, {series}", series=f"{data} {series}")


def at_high_rate(scenario):
    """The 100-layer network on USPS at a rate of 0.1, where weights grow that max-norm then bounds."""
    run = dense_run("usps", scenario)
    fields = {**run.fields, "learning_rate": 0.1, "epochs": 30}
    return dataclasses.replace(run, name=f"{run.name}-rate01", fields=fields, title=f"{run.title}, rate 0.1")


def conv_run(scenario, paper=None):
    fields = {**CONV50, "scenario": scenario}
    return Run(f"cifar10-conv50-{scenario}", fields, paper or {}, title=f"conv50, {TITLES[scenario]}", series=scenario)


def _paper(train_error, test_error):
    return {"train_error": train_error, "test_error": test_error}


TABLE2 = {
    "bn": _paper(84.56, 83.21),
    "lrelu": _paper(92.37, 92.03),
    "maxnorm": _paper(86.22, 86.85),
    "bn+lrelu": _paper(78.38, 79.52),
    "bn+maxnorm": _paper(82.90, 81.86),
    "lrelu+maxnorm": _paper(83.62, 82.11),
    "proposed": _paper(0.11, 5.48),
}
DEEP = tuple(dense_run(data, scenario) for data in ("usps", "coil20") for scenario in ("naive", "bn", "proposed"))
INITIALIZERS = ("random_uniform", "he_normal", "glorot_uniform")


def depth_pictures(*quantities):
    """A report: each quantity over the layers of the trained networks, a picture for each data set."""

    def report(experiment, results, folder):
        lines = []
        for data, diagnoses in _diagnoses(results).items():
            for quantity in quantities:
                path = folder / f"{experiment.name}-{data}-{quantity}.png"
                plot_depth(diagnoses, quantity, path)
                lines.append(f"picture: {path}")
        return lines

    return report


def response_pictures(*layers):
    """A report: the responses of layers' units over the training images, a picture for each network and layer."""

    def report(experiment, results, folder):
        lines = []
        for run, model, images in _trained(results):
            names = dict.fromkeys(f"dense{min(layer, run.fields['depth'])}" for layer in layers)
            for responses in collect_responses(model, images, list(names)):
                path = folder / f"{experiment.name}-{run.name}-{responses.layer}.png"
                plot_responses(responses, path)
                lines.append(f"picture: {path}")
        return lines

    return report


def _diagnoses(results):
    found = {}
    for run, model, images in _trained(results):
        diagnosis = measure(model, images, quantities=("activations", "weights"))
        found.setdefault(run.fields["data"], {})[TITLES[run.fields["scenario"]]] = diagnosis
    return found


def _trained(results):
    """Run, model and training images of one run of each network, of those that did not diverge."""
    from dirac_keras.files.keras_file import load_model
    from pipelines import load_splits

    for run, directory in one_each(results):
        splits = load_splits(**directory.read_config().data_arguments())
        yield run, load_model(directory.model)[0], splits.train_in_order()


EXPERIMENTS = {
    "table2": Experiment(
        "table2",
        "Ablation of the three components, 100 layers on USPS",
        "table II",
        tuple(dense_run("usps", scenario, paper=paper) for scenario, paper in TABLE2.items()),
        error_table,
    ),
    "table2-rate": Experiment(
        "table2-rate",
        "What max-norm does at a ten times higher rate, 30 epochs",
        "table II; the rate is ours",
        tuple(
            dataclasses.replace(at_high_rate(scenario), paper=TABLE2[scenario]) for scenario in ("bn+lrelu", "proposed")
        ),
        error_table,
    ),
    "fig1": Experiment(
        "fig1",
        "Error over depth, with and without BatchNormalization",
        "Fig. 1",
        tuple(dense_run(d, s, depth) for d in ("coil20", "usps") for s in ("naive", "bn") for depth in DEPTHS),
        error_over_depth,
    ),
    "fig2-5": Experiment(
        "fig2-5",
        "Activations and weights over the layers of the trained networks",
        "Fig. 2 to 5",
        DEEP,
        depth_pictures("normalized_mean", "max_absolute", "weight_condition_number"),
    ),
    "fig6-8": Experiment(
        "fig6-8",
        "Responses of the units of layers 50 and 99 over the data set",
        "Fig. 6 to 8",
        DEEP,
        response_pictures(50, 99),
    ),
    "fig9": Experiment(
        "fig9",
        "Error over depth for several initializers, with and without BatchNormalization, and the proposed network",
        "Fig. 9",
        tuple(
            dense_run(data, scenario, depth, initializer)
            for data in ("coil20", "usps")
            for scenario, initializer in (
                *((s, i) for s in ("naive", "bn") for i in INITIALIZERS),
                ("proposed", "paper"),
            )
            for depth in DEPTHS
        ),
        error_over_depth,
    ),
    "figA1": Experiment(
        "figA1", "Share of units above a threshold", "Fig. A1", DEEP, depth_pictures("units_above", "share_above")
    ),
    "table3": Experiment(
        "table3",
        "50 convolutions on CIFAR-10 (the paper: 400 epochs)",
        "table III",
        (conv_run("bn"), conv_run("proposed", {"test_error": 6.65})),
        error_table,
    ),
}
