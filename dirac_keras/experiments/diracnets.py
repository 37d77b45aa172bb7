"""Zagoruyko & Komodakis 2017, "DiracNets: Training Very Deep Neural Networks Without Skip-Connections".

The paper trains CIFAR-10 for 200 epochs. Here the networks of a table share the `quick` recipe and few epochs.
"""

from dirac_keras.experiments.report import depth_and_curves, table_and_curves
from dirac_keras.experiments.runs import Experiment, Run

QUICK = {"data": "cifar10", "recipe": "quick", "keep_checkpoints": 1}
FULL = {"recipe": "cifar", "epochs": 200}
# Section 3.1; the paper gives these of the accuracies between 10 and 100 layers.
PAPER_ACCURACY = {("dirac", 34): 92.8, ("plain", 34): 91.2, ("plain", 52): 88, ("dirac", 100): 92.4, ("plain", 100): 40}
DEPTHS = (10, 16, 22, 28, 34, 52, 100)
SIGMAS = (1e-8, 1e-4, 1e-2, 1.0)


def depth_run(parameterization, depth):
    """DiracNet, or the same network of ordinary convolutions."""
    accuracy = PAPER_ACCURACY.get((parameterization, depth))
    return Run(
        f"cifar10-{parameterization}{depth}",
        {**QUICK, "depth": depth, "parameterization": parameterization, "epochs": 3, "max_train": 20_000},
        {} if accuracy is None else {"test_error": round(100 - accuracy, 2)},
        title=f"{parameterization}-{depth}",
        series=parameterization,
        full={**FULL, "max_train": None},
    )


def sigma_run(sigma):
    """ResNet-28 whose kernels are `I + W`, W from N(0, sigma^2); None: ordinary ones, MSRA's (He-normal) start."""
    title = "MSRA" if sigma is None else f"sigma {sigma:g}"
    return Run(
        "cifar10-resnet28-msra" if sigma is None else f"cifar10-resnet28-sigma{sigma:g}",
        {**QUICK, "family": "wide_resnet", "depth": 28, "sigma": sigma, "epochs": 3, "learning_rate": 0.1},
        title=title,
        series=title,
        full=FULL,
    )


EXPERIMENTS = {
    "depth": Experiment(
        "depth",
        "Dirac against ordinary convolutions, 10 to 100 layers, CIFAR-10",
        "section 3.1 and Fig. 1",
        tuple(depth_run(kind, depth) for kind in ("dirac", "plain") for depth in DEPTHS),
        depth_and_curves(34),
    ),
    "sigma": Experiment(
        "sigma",
        "ResNet-28 with kernels I + W, W from N(0, sigma^2), CIFAR-10",
        "section 3.4, eq. 8",
        tuple(sigma_run(sigma) for sigma in (None, *SIGMAS)),
        table_and_curves,
    ),
}
