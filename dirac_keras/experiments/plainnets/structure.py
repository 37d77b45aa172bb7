"""Tables I and A1: what the networks are made of, counted in those that are built."""

import functools

import keras
import numpy as np

from dirac_keras.experiments.tables import figures_table
from dirac_keras.models import build_plainnet

# Table I, millions: those of COIL-20 at 32x32 with BatchNormalization (docs/deviations.md).
TABLE1 = {3: 0.50, 5: 0.68, 10: 1.13, 15: 1.59, 20: 2.04, 40: 3.86, 50: 4.78}
TABLE1_CAUSES = {50: "the paper's six other counts give 4.77 too: a layer adds 0.0909 M"}
CONV50_MILLIONS = 0.72  # table III
# Of networks that table III quotes: test errors on CIFAR-10, percent.
QUOTED = {
    "Highway-19": 7.54,
    "ResNet-56": 6.97,
    "ResNet-110": 6.43,
    "All-CNN": 7.25,
    "NiN": 8.81,
    "Delta-orthogonal, 32 layers": 18.00,
    "PlainNet-BN-56": 15.00,
}


def table3(experiment, results, folder):
    """A report: parameters and errors of the networks, the paper's and those it quotes beside them."""
    quoted = ", ".join(f"{name} {error:.2f} %" for name, error in QUOTED.items())
    table = figures_table(results, ("parameters", "train_error", "test_error"))
    return [*table, "", f"The paper quotes beside them: {quoted}."]


def parameter_table(experiment, results, folder):
    """Markdown lines: the parameters of dense networks, counted, beside table I."""
    lines = ["| hidden layers | parameters | paper |", "|---|---|---|"]
    lines += [f"| {depth} | {_dense_millions(depth):.2f} M | {paper:.2f} M |" for depth, paper in TABLE1.items()]
    return lines


def table1_figures():
    """Table I as the ledger has it: network, metric, the paper's number, ours, cause of the difference."""
    return [
        (f"{depth} hidden layers", "parameters", paper, _dense_millions(depth), TABLE1_CAUSES.get(depth, ""))
        for depth, paper in TABLE1.items()
    ]


@functools.cache
def _dense_millions(depth):
    return _millions(build_plainnet("dense", depth, input_shape=(32, 32, 1), scenario="bn", num_classes=20))


def convolution_table(experiment, results, folder):
    """Markdown lines: the convolutions of the network of 50, in order, and its parameters beside table III's."""
    model = build_plainnet("conv50", input_shape=(32, 32, 3))
    lines = ["| layer | filters | kernel | output |", "|---|---|---|---|"]
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            size = "x".join(map(str, layer.kernel_size))
            lines.append(
                f"| {layer.name} | {layer.filters} | {size} | {layer.output.shape[1]}x{layer.output.shape[2]} |"
            )
    return [*lines, "", f"parameters: {_millions(model):.2f} M, paper {CONV50_MILLIONS:.2f} M"]


def _millions(model):
    return sum(np.prod(weight.shape) for weight in model.trainable_weights) / 1e6
