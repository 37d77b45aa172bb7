"""Pictures of a diagnosis: a quantity over the depth, and the responses of a layer's units."""

import math

import numpy as np

from dirac_keras.diagnostics.curves import CURVES
from dirac_keras.errors import UserError, check_choice
from dirac_keras.pages import COLOURS, entitle, in_legend, legend, new_figure, plain_numbers, save_figure, style


@style()
def plot_depth(diagnoses, quantity, path=None, with_output=False, title=None):
    """One quantity over the layers of one or several networks.

    Layers without the quantity leave a gap; an infinite one is a triangle at the upper edge. Layers are numbered from
    1 in the order of computation.

    Args:
        diagnoses: `Diagnosis` or its `to_dict()`, or a dict label -> one of these.
        quantity: one of `CURVES`; of several thresholds each is a curve.
        path: of the PNG; None writes none.
        with_output: whether the classifier's output is drawn too.
        title: text; None: the quantity, and the networks where there are two or three.

    Returns: `matplotlib.figure.Figure`.
    Raises: ValueError: if the quantity is unknown, or no layer has it.
    Source: Oyedotun et al., Fig. 2 to 5 and A1.
    """
    check_choice("quantity", quantity, CURVES)
    curve = CURVES[quantity]
    figure, axis = new_figure(6.5, 4.2)
    lines = {
        ", ".join(part for part in (label, name) if part): points
        for label, diagnosis in _labelled(diagnoses).items()
        for name, points in _points(diagnosis, curve, with_output).items()
    }
    for k, (label, points) in enumerate(lines.items()):
        draw(axis, points, in_legend(label), COLOURS[k % len(COLOURS)])
    if not lines:
        raise UserError(f"diagnoses hold no number for quantity={quantity!r}: measure {curve.group} first.")
    axis.set(xlabel="layer", ylabel=curve.label)
    entitle(axis, title or _title(diagnoses, curve))
    if curve.is_log:
        is_positive = all(np.nanmin(line.get_ydata()) > 0 for line in axis.lines)
        axis.set_yscale("log" if is_positive else "symlog")
        if is_positive:
            plain_numbers(axis.yaxis)
    if curve.is_share:
        axis.set_ylim(-3, 103)
    whole_numbers(axis)
    legend(figure, least=1)
    return save_figure(figure, path)


@style()
def plot_responses(responses, path=None, title=None):
    """The responses of a layer's units to the data as a picture: units that respond alike are bands.

    Args:
        responses: `Responses`, or array `(units, samples)`.
        path: of the PNG; None writes none.
        title: text; None: the layer.

    Returns: `matplotlib.figure.Figure`. Lines part the classes; what is no number is white.
    Raises: ValueError: if it is no matrix or holds no number.
    Source: Oyedotun et al., Fig. 6 to 8.
    """
    matrix = np.asarray(getattr(responses, "matrix", responses), "float64")
    if matrix.ndim != 2 or not np.any(np.isfinite(matrix)):
        raise UserError(f"responses must be a matrix (units, samples) with numbers. Received shape {matrix.shape}.")
    figure, axis = new_figure(7.5, 4.2)
    axis.grid(False)
    limit = float(np.abs(matrix[np.isfinite(matrix)]).max()) or 1.0
    image = np.where(np.isfinite(matrix), matrix, np.nan)
    shown = axis.imshow(image, aspect="auto", interpolation="nearest", cmap="RdBu_r", vmin=-limit, vmax=limit)
    labels = getattr(responses, "labels", None)
    if labels is not None:
        for boundary in np.flatnonzero(np.diff(labels)) + 0.5:
            axis.axvline(boundary, color="black", linewidth=0.4)
    layer = getattr(responses, "layer", "")
    samples = "sample" if labels is None else "sample, by class"
    axis.set(xlabel=samples, ylabel="unit")
    entitle(axis, title or (f"Responses of layer {layer}" if layer else "Responses"))
    figure.colorbar(shown, ax=axis, label="activation")
    return save_figure(figure, path)


def _labelled(diagnoses):
    is_one = not isinstance(diagnoses, dict) or "layers" in diagnoses
    found = {"": diagnoses} if is_one else diagnoses
    return {label: one if isinstance(one, dict) else one.to_dict() for label, one in found.items()}


def _points(diagnosis, curve, with_output):
    """Name of a curve -> list of `(layer number, value)`."""
    points = {}
    for number, record in enumerate(diagnosis["layers"], start=1):
        value = (record[curve.group] or {}).get(curve.field)
        if value is None or (record["is_output"] and not with_output):
            continue
        values = {f"> {float(key):g}": item for key, item in value.items()} if isinstance(value, dict) else {"": value}
        for name, item in values.items():
            points.setdefault(name, []).append((number, float(item) * (100 if curve.is_share else 1)))
    return points


def draw(axis, points, label, colour):
    """A line through pairs of layer number and value, with gaps where a layer has none; triangles for infinite ones."""
    numbers, values = np.array(points, "float64").T
    finite = np.isfinite(values)
    gaps = np.arange(numbers.min(), numbers.max() + 1)  # a layer without the quantity breaks the line
    heights = np.full(len(gaps), math.nan)
    heights[(numbers[finite] - gaps[0]).astype(int)] = values[finite]
    if np.any(finite):
        axis.plot(gaps, heights, color=colour, label=label or None, marker="o", markersize=2.5)
    if not np.all(finite):
        text = f"{label}: infinite" if label else "infinite"
        top = np.full(np.count_nonzero(~finite), 0.985)
        axis.scatter(
            numbers[~finite], top, marker="^", s=14, color=colour, label=text, transform=axis.get_xaxis_transform()
        )


def whole_numbers(axis):
    """Ticks of layers at whole numbers."""
    axis.xaxis.get_major_locator().set_params(integer=True)


def _title(diagnoses, curve):
    """What is compared: the quantity over the layers, of which networks."""
    labels = [label for label in _labelled(diagnoses) if label]
    names = f": {', '.join(labels)}" if 1 < len(labels) <= 3 else ""
    title = f"{curve.label} by layer{names}"
    return title[0].upper() + title[1:]
