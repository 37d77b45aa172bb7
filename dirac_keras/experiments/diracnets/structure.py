"""Table 1: the structure of DiracNets, read from a network that is built."""

import math
import re

from dirac_keras.experiments.runs import Experiment
from dirac_keras.models.diracnet import build_diracnet

DEPTH, WIDTHS = 28, (1, 5)
# Table 2 has the parameters of the second.
PAPER_MILLIONS = {5: 9.1}


def structure_table(experiment, results, folder):
    """Markdown lines: output size, convolutions and pools by group, beside the paper's, and the parameters."""
    lines = [f"DiracNet-{DEPTH}-k, 2N = {(DEPTH - 4) // 3}:", "", "| name | output size | layers |", "|---|---|---|"]
    model = build_diracnet(DEPTH)
    for name, layers in _by_place(model).items():
        height, width = layers[-1].output.shape[1:3] if len(layers[-1].output.shape) == 4 else (1, 1)
        lines.append(f"| {name} | {height} x {width} | {_describe(layers)} |")
    counts = []
    for factor in WIDTHS:
        network = model if factor == 1 else build_diracnet(DEPTH, factor)
        millions = sum(math.prod(weight.shape) for weight in network.trainable_weights) / 1e6
        paper = f", the paper's {PAPER_MILLIONS[factor]} M" if factor in PAPER_MILLIONS else ""
        counts.append(f"{millions:.2f} M with k = {factor}{paper}")
    return [*lines, "", f"Parameters, without statistics: {'; '.join(counts)}."]


def _by_place(model):
    """Name of the table -> the convolutions of the group, or the pool in front of it."""
    places = {}
    for layer in model.layers:
        if match := re.match(r"(conv1|group\d+|head)(_block\d+_conv|_pool|$)", layer.name):
            is_pool = match[2] == "_pool"
            name = {"head": "avg-pool"}.get(match[1], f"max-pool, {match[1]}") if is_pool else match[1]
            places.setdefault(name, []).append(layer)
    return places


def _describe(layers):
    kernels = [tuple(layer.kernel.shape) for layer in layers if hasattr(layer, "kernel")]
    if not kernels:
        return "-"
    height, width, _, channels = kernels[-1]
    return f"[{height} x {width}, {channels}] x {len(kernels)}"


TABLE1 = Experiment("table1", "Structure of DiracNets", "table 1", (), structure_table, artefacts=("Table 1",))
