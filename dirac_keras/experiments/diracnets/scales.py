"""Fig. 2: the scales a and b of the layers of DiracNet-34 while it trains."""

import re

import keras
import numpy as np
from matplotlib import colormaps

from dirac_keras.callbacks.plots import GROUP_COLOURS
from dirac_keras.experiments.diracnets.networks import cifar10_run
from dirac_keras.experiments.report import one_each, save
from dirac_keras.experiments.runs import Experiment
from dirac_keras.files.amounts import counted
from dirac_keras.files.keras_file import load_model
from dirac_keras.files.tables import read_table
from dirac_keras.pages import new_figure, style

SCALES = {"identity_scale": "a", "filter_scale": "b"}
DEGRADED = 100  # "degraded" is not stated: here one scale of a plane is this many times the other


def scales_over_training(experiment, results, folder):
    """Markdown lines and a picture: mean a and b of every layer by epoch, a panel for each group; deeper is darker."""
    lines = []
    for run, directory in one_each(results):
        groups = _by_group(read_table(directory.scales))
        if not groups:
            lines.append(f"{run.title}: {directory.scales} is absent.")
            continue
        path = save(_picture(groups), folder / f"{experiment.name}-{run.name}.png")
        lines += [f"{run.title}, seed {run.fields.get('seed', 0)}:", "", *_table(groups), "", _planes(directory)]
        lines += ["", f"picture: {path}"]
    return lines or ["All runs diverged."]


def _by_group(rows):
    """`{group: {layer: [(epoch, a, b), ...]}}`, in the order of the network."""
    groups = {}
    for row in rows:
        group = re.match(r"group\d+", row["layer"])[0]
        layers = groups.setdefault(group, {})
        layers.setdefault(row["layer"], []).append((row["epoch"], *(row[name] for name in SCALES)))
    return groups


def _table(groups):
    """Section 3.3: no layer has a degraded ratio of a to b."""
    lines = ["| group at the end | mean a, least to most | mean b | a / b |", "|---|---|---|---|"]
    for group, layers in groups.items():
        a, b = np.array([points[-1][1:] for points in layers.values()]).T
        ranges = [f"{values.min():.2f} to {values.max():.2f}" for values in (a, b, a / b)]
        lines.append(f"| {group}, {counted(len(layers), 'layer')} | " + " | ".join(ranges) + " |")
    return lines


def _planes(directory):
    """Section 3.3, of the trained network: "the number of degraded planes is low too"."""
    if not directory.model.exists():
        return f"Single planes are not counted: {directory.model} is absent."
    model, _ = load_model(directory.model)
    layers = [layer for layer in model.layers if all(getattr(layer, name, None) is not None for name in SCALES)]
    a, b = (
        np.abs(np.concatenate([keras.ops.convert_to_numpy(getattr(layer, name)) for layer in layers]))
        for name in SCALES
    )
    return (
        f"Of {len(a)} feature planes {np.count_nonzero(b < a / DEGRADED)} are the identity alone (|b| below |a| / "
        f"{DEGRADED}), {np.count_nonzero(a < b / DEGRADED)} the filter alone."
    )


@style()
def _picture(groups):
    panels = {"rows": 2, "columns": len(groups), "squeeze": False, "sharex": True, "sharey": "row"}
    figure, axes = new_figure(3.6 * len(groups), 5.8, **panels)
    for column, ((group, layers), palette) in enumerate(zip(groups.items(), GROUP_COLOURS, strict=False)):
        for place, points in enumerate(layers.values()):
            colour = colormaps[palette](0.3 + 0.65 * place / max(1, len(layers) - 1))
            epochs, *scales = zip(*points, strict=True)
            for axis, values in zip(axes[:, column], scales, strict=True):
                axis.plot(epochs, values, color=colour, linestyle="-", linewidth=1.2)
        axes[0, column].set_title(group)
        axes[1, column].set_xlabel("epoch")
    for axis, symbol in zip(axes[:, 0], SCALES.values(), strict=True):
        axis.set_ylabel(f"mean {symbol} of a layer")
    for axis in axes.flat:
        axis.xaxis.get_major_locator().set_params(integer=True)
    figure.supxlabel("A line each layer; deeper colour: deeper layer.", fontsize="small")
    return figure


FIG2 = Experiment(
    "fig2",
    "Mean a and b of the layers of DiracNet-34 during training, CIFAR-10",
    "Fig. 2 and section 3.3",
    (cifar10_run("dirac", 34),),
    scales_over_training,
    artefacts=("Fig. 2", "Section 3.3"),
    looks_into=True,
    seeds=1,
    full_seeds=1,
)
