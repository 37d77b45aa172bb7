"""Pictures of a run, made from its files."""

import re

from dirac_keras.pages import legend, new_figure, save_figure, style

GROUP_COLOURS = ("Blues", "Greens", "Reds", "Purples", "Oranges")  # one a group, deeper colour: deeper layer
# Column of `metrics.csv` -> what its axis says. The first two that the run has are drawn.
CURVES = {
    "loss": "loss",
    "accuracy": "accuracy, share of the images",
    "f1_macro": "F1, mean of the labels",
    "mae": "mean absolute error",
}


@style()
def plot_scales(rows, path):
    """Mean of a (left) and b (right) of every layer over the epochs: the paper's Fig. 2.

    Args:
        rows: list of `{"epoch", "layer", "identity_scale", "filter_scale"}`.
        path: of the PNG.

    Source: arXiv:1706.00388, Fig. 2.
    """
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    names = [name for name in ("identity_scale", "filter_scale") if name in rows[0]]
    figure, axes = _figure(len(names))
    for axis, name in zip(axes, names, strict=True):
        for layer, colour in zip(layers, _colours(layers), strict=True):
            points = [(row["epoch"], row[name]) for row in rows if row["layer"] == layer]
            axis.plot(*zip(*points, strict=True), color=colour, linestyle="-", label=layer, linewidth=1.2)
        symbol, what = {"identity_scale": ("a", "the skip"), "filter_scale": ("b", "the filters")}[name]
        axis.set(xlabel="epoch", ylabel=f"mean {symbol}", title=f"Scale {symbol} of {what}, each layer")
    axes[-1].legend(fontsize=6, ncols=1 + len(layers) // 18, loc="center left", bbox_to_anchor=(1.01, 0.5))
    save_figure(figure, path)


@style()
def plot_curves(rows, path, held_out="validation"):
    """Loss and the metric of the task over the epochs.

    Args:
        rows: list of `metrics.csv`'s rows.
        path: of the PNG.
        held_out: what the figures that begin with `val_` were measured on.
    """
    known = {name for row in rows for name in row}
    names = [name for name in CURVES if name in known or f"val_{name}" in known][:2]
    figure, axes = _figure(len(names))
    for axis, name in zip(axes, names, strict=True):
        labels = []
        for key, label in ((name, "train"), (f"val_{name}", held_out)):
            points = [(row["epoch"], row[key]) for row in rows if key in row]  # not all epochs need be validated
            if points:
                axis.plot(*zip(*points, strict=True), label=label, marker="o")
                labels.append(label)
        what = CURVES[name].partition(",")[0]
        axis.set(xlabel="epoch", ylabel=CURVES[name], title=f"{what[0].upper()}{what[1:]}: {' and '.join(labels)}")
    legend(figure)
    save_figure(figure, path)


@style()
def plot_skips(rows, path):
    """What is left of the skips by step: mean residual (left, logarithmic) and mean alpha (right).

    Args:
        rows: list of `{"step", "residual", "alpha"}`, `skips.csv`'s.
        path: of the PNG.

    Source: Monti et al. (VAN), right of Fig. 2.
    """
    figure, (left, right) = _figure(2)
    steps = [row["step"] for row in rows]
    left.plot(steps, [max(row["residual"], 1e-8) for row in rows])
    left.set(ylabel="mean of (1 - alpha)^2", yscale="log", title="What is left of the skips, mean of all")
    right.plot(steps, [row["alpha"] for row in rows])
    right.set(ylabel="mean alpha", ylim=(-0.02, 1.02), title="alpha, mean of all skips (1: gone)")
    for axis in (left, right):
        axis.set(xlabel="step", xscale="symlog", xlim=(0, None))
    save_figure(figure, path)


def _figure(columns):
    figure, axes = new_figure(5.5 * columns, 4.2, columns=columns, squeeze=False)
    for axis in axes[0]:
        axis.xaxis.get_major_locator().set_params(integer=True)  # epochs
    return figure, axes[0]


def _colours(layers):
    from matplotlib import colormaps

    groups = {}
    for layer in layers:
        match = re.match(r"group(\d+)_", layer)
        groups.setdefault(match.group(1) if match else "", []).append(layer)
    colours = {}
    for group, palette in zip(groups, GROUP_COLOURS * len(groups), strict=False):
        for k, layer in enumerate(groups[group]):
            colours[layer] = colormaps[palette](0.3 + 0.65 * k / max(1, len(groups[group]) - 1))
    return [colours[layer] for layer in layers]
