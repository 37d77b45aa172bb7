"""Section 3.1: networks of Dirac kernels and of ordinary ones, 10 to 100 layers."""

from dirac_keras.experiments.diracnets.networks import DEPTHS, cifar10_run
from dirac_keras.experiments.report import depth_and_curves
from dirac_keras.experiments.runs import Experiment

DEPTH = Experiment(
    "depth",
    "Dirac against ordinary convolutions, 10 to 100 layers, CIFAR-10",
    "section 3.1",
    tuple(cifar10_run(kind, depth) for kind in ("dirac", "plain") for depth in DEPTHS),
    depth_and_curves(34),
    artefacts=("Section 3.1",),
)
