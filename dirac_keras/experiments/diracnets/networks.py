"""The CIFAR networks of several entries, and the settings that they share."""

from dirac_keras.experiments.runs import Run

SHORT = {"recipe": "quick", "keep_checkpoints": 1}
BRIEF = {**SHORT, "data": "cifar10", "epochs": 3, "max_train": 20_000}
FULL = {"recipe": "cifar", "epochs": 200, "max_train": None}
# Section 3.1; the paper gives these of the accuracies between 10 and 100 layers, of width 1.
PAPER_ACCURACY = {("dirac", 34): 92.8, ("plain", 34): 91.2, ("plain", 52): 88, ("dirac", 100): 92.4, ("plain", 100): 40}
# "Does not converge and only achieves 40% train/validation accuracy".
PAPER_TRAIN_ACCURACY = {("plain", 100): 40}
DEPTHS = (10, 16, 22, 28, 34, 52, 100)
TITLES = {"dirac": "DiracNet", "plain": "plain", "resnet": "ResNet"}
FAMILIES = {
    "dirac": {"parameterization": "dirac"},
    "plain": {"parameterization": "plain"},
    "resnet": {"family": "wide_resnet"},
}


def cifar10_run(network, depth, width=1):
    """A network of Fig. 1; the same arguments give the same name, so entries share its run.

    Args:
        network: `"dirac"`, `"plain"`, the same network of ordinary convolutions, or `"resnet"`, a Wide ResNet.
        depth: int, `6 N + 4`.
        width: int, factor on the channels.
    """
    given = {"train_error": PAPER_TRAIN_ACCURACY, "test_error": PAPER_ACCURACY} if width == 1 else {}
    paper = {name: round(100 - of[network, depth], 2) for name, of in given.items() if (network, depth) in of}
    size = f"{depth}" if width == 1 else f"{depth}-{width}"
    return Run(
        f"cifar10-{network}{size}",
        {**BRIEF, **FAMILIES[network], "depth": depth, **({} if width == 1 else {"width": width})},
        paper,
        title=f"{TITLES[network]}-{depth}-{width}",
        series=f"{TITLES[network]}, width {width}",
        full=FULL,
    )
