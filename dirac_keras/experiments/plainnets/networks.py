"""The trainings of the paper: dense networks of 300 units on COIL-20 and USPS, 50 convolutions on CIFAR-10."""

import dataclasses

from dirac_keras.experiments.runs import Run

DENSE = {
    "family": "plainnet",
    "layout": "dense",
    "recipe": "plainnet",
    "depth": 100,
    "epochs": 60,
    "learning_rate": 0.01,
    "keep_checkpoints": 1,
}
DENSE_FULL = {"epochs": 300}  # section VI
CONV50 = {
    "family": "plainnet",
    "layout": "conv50",
    "depth": 50,
    "data": "cifar10",
    "recipe": "plainnet",
    "epochs": 15,
    "precision": "auto",
}
CONV50_FULL = {"epochs": 400}  # section VI
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
RATE_UNKNOWN = (
    'the paper gives its learning rate as "in the range [0.0001-0.1]"; ours is a one-cycle with a peak of 0.01'
)


def dense_run(data, scenario, depth=100, initializer="paper", paper=None, cause=""):
    """A dense network of the paper; the same arguments give the same name, so entries share its run."""
    name = f"{data}-{depth}-{scenario}" + ("" if initializer == "paper" else f"-{initializer}")
    fields = {**DENSE, "data": data, "scenario": scenario, "depth": depth, "kernel_initializer": initializer}
    series = TITLES[scenario] + ("" if initializer == "paper" else f", {initializer}")
    title = f"{data}, {depth} layers, {series}"
    return Run(name, fields, paper or {}, title=title, series=f"{data} {series}", full=DENSE_FULL, cause=cause)


def at_high_rate(scenario, paper):
    """The 100-layer network on USPS at a rate of 0.1, where weights grow that max-norm then bounds."""
    run = dense_run("usps", scenario, paper=paper)
    fields = {**run.fields, "learning_rate": 0.1, "epochs": 30}
    return dataclasses.replace(run, name=f"{run.name}-rate01", fields=fields, title=f"{run.title}, rate 0.1")


def conv_run(scenario, paper=None):
    """The network of 50 convolutions in a scenario."""
    fields = {**CONV50, "scenario": scenario}
    title = f"conv50, {TITLES[scenario]}"
    return Run(f"cifar10-conv50-{scenario}", fields, paper or {}, title=title, series=scenario, full=CONV50_FULL)


def _paper(train_error, test_error):
    return {"train_error": train_error, "test_error": test_error}


# Errors of table II, percent.
TABLE2 = {
    "bn": _paper(84.56, 83.21),
    "lrelu": _paper(92.37, 92.03),
    "maxnorm": _paper(86.22, 86.85),
    "bn+lrelu": _paper(78.38, 79.52),
    "bn+maxnorm": _paper(82.90, 81.86),
    "lrelu+maxnorm": _paper(83.62, 82.11),
    "proposed": _paper(0.11, 5.48),
}
TABLE2_CAUSES = {
    "bn+lrelu": f"{RATE_UNKNOWN}, at which no weight vector reaches the bound of max-norm (entry table2-rate)",
}
# The networks that the figures look into.
DEEP = tuple(dense_run(data, scenario) for data in ("usps", "coil20") for scenario in ("naive", "bn", "proposed"))
INITIALIZERS = ("random_uniform", "he_normal", "glorot_uniform")
