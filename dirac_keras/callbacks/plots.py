"""Pictures of a run, made from its files."""

import re

from dirac_keras.files.atomic import atomic_path

GROUP_COLOURS = ("Blues", "Greens", "Reds", "Purples", "Oranges")  # one a group, deeper colour: deeper layer


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
            axis.plot(*zip(*points, strict=True), color=colour, label=layer, linewidth=1.2)
        symbol = {"identity_scale": "a", "filter_scale": "b"}[name]
        axis.set(xlabel="epoch", ylabel=f"mean {symbol}", title=f"{symbol}: {name}")
        axis.grid(alpha=0.3)
    axes[-1].legend(fontsize=6, ncols=1 + len(layers) // 18, loc="center left", bbox_to_anchor=(1.01, 0.5))
    _save(figure, path)


def plot_curves(rows, path, held_out="validation"):
    """Loss and accuracy over the epochs.

    Args:
        rows: list of `metrics.csv`'s rows.
        path: of the PNG.
        held_out: what the figures that begin with `val_` were measured on.
    """
    figure, axes = _figure(2)
    epochs = [row["epoch"] for row in rows]
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        for key, label in ((name, "train"), (f"val_{name}", held_out)):
            if key in rows[0]:
                axis.plot(epochs, [row[key] for row in rows], label=label, marker="o", markersize=2.5)
        axis.set(xlabel="epoch", ylabel=name)
        axis.grid(alpha=0.3)
        axis.legend()
    _save(figure, path)


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
    left.set(ylabel="mean of (1 - alpha)^2", yscale="log", title="what is left of the skips")
    right.plot(steps, [row["alpha"] for row in rows])
    right.set(ylabel="mean alpha", ylim=(-0.02, 1.02), title="alpha")
    for axis in (left, right):
        axis.set(xlabel="step", xscale="symlog", xlim=(0, None))
        axis.grid(alpha=0.3)
    _save(figure, path)


def _figure(columns):
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    figure = Figure(figsize=(5.5 * columns, 4.2), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True)  # epochs
    return figure, axes


def _save(figure, path):
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


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
