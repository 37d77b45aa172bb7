"""Pictures of explanations: maps over the images, and what the layers see."""

import io

import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.pages import COLOURS, columns, drawable, in_place, legend, new_figure, save_figure, shortened, style

TITLES = {"gradcam": "Grad-CAM", "integrated_gradients": "integrated gradients", "occlusion": "occlusion"}
MOST_LETTERS, LEAST_LETTERS = 60, 8  # of a name above a panel
TITLE_SIZE = 9.5  # points
PANEL, MARGIN = 3.1, 0.25  # inches: of a panel, and of it beside its picture
MOST_FIELDS = 4
CLIPPED = 99.5  # percentile of single pixels that the colours end at; a few would darken all others
SMALL = 64  # pixels of a side up to which pixels are drawn as squares


def draw_explanations(pixels, explanations, index, panels=None):
    """One image, and the map of each method over it.

    Args:
        pixels: array uint8 `(height, width, channels)`, the image as the network sees it.
        explanations: list of `Explanation`.
        index: int, of the image in them.
        panels: list of int, those that are drawn: 0 is the image, then the methods in order; None: all.

    Returns: `matplotlib.figure.Figure`.
    """
    panels = range(1 + len(explanations)) if panels is None else panels
    with style():
        figure, axes = new_figure(PANEL * len(panels), PANEL + 1.0, 1, len(panels))
        for axis, panel in zip(np.atleast_1d(axes), panels, strict=True):
            if panel == 0:
                first = explanations[0]
                _show(axis, pixels)
                name = first.names[first.predicted[index]]
                around = ("predicted: ", "") if first.has_classes else ("", f": {first.scores[index]:.4g}")
                _title(axis, "image", name, *around)
                _hide(_bar(figure, axis, axis.images[0], False))  # all panels get the same room
                continue
            one = explanations[panel - 1]
            shown = _over(axis, pixels, one.maps[index], one.is_signed)
            _title(axis, TITLES[one.method], one.names[one.targets[index]], "of ", _share(one, index))
            _bar(figure, axis, shown, one.is_signed)
    return figure


def draw_fields(pixels, fields):
    """The receptive fields of the middle of layers over an image, side by side.

    Args:
        pixels: array uint8 `(height, width, channels)`.
        fields: list of `ReceptiveField`; of more than four, four by depth, the first and the last among them.

    Returns: `matplotlib.figure.Figure`: colours for the effective field, a frame for the theoretical one.
    Raises: ValueError: if there is none.
    """
    _check(fields)
    places = np.unique(np.linspace(0, len(fields) - 1, min(MOST_FIELDS, len(fields))).round().astype(int))
    with style():
        figure, axes = new_figure(PANEL * len(places) + 0.9, PANEL + 0.95, 1, len(places))
        for axis, place in zip(np.atleast_1d(axes), places, strict=True):
            field = fields[place]
            shown = _over(axis, pixels, field.effective, is_signed=False)
            if field.box is not None:
                _frame(axis, field.box, pixels.shape[:2])
            theory = "unknown" if field.sides is None else f"{field.sides[0]} x {field.sides[1]} pixels"
            _title(axis, f"layer {field.depth}", field.layer)
            axis.set_xlabel(
                f"theoretical field: {theory}\neffective field: side {field.effective_side:.0f}", fontsize=9
            )
        label = "gradient, largest 1"
        figure.colorbar(shown, ax=axes, label=label, shrink=0.7).solids.set_alpha(1.0)
    return figure


def _frame(axis, box, sides):
    """Draw a box that may reach beyond the image: up to half of its side the picture grows with it."""
    from matplotlib.patches import Rectangle

    top, left, bottom, right = box
    limits = [_limits(low, high, side) for low, high, side in ((top, bottom, sides[0]), (left, right, sides[1]))]
    if all(limits):
        axis.set_ylim(*limits[0][::-1])
        axis.set_xlim(*limits[1])
    corner, size = (left - 0.5, top - 0.5), (right - left + 1, bottom - top + 1)
    axis.add_patch(Rectangle(corner, *size, fill=False, edgecolor=COLOURS[1], linewidth=2.0))


def _limits(first, last, side):
    """Where an axis begins and ends, around the image and a field; None for a field that would leave it too small."""
    if first < -side / 2 or last > 1.5 * side:
        return None
    return min(first - 1.5, -0.5), max(last + 1.5, side - 0.5)


def draw_depth(fields):
    """The receptive fields of layers by depth, and below them the scales of Dirac layers.

    Args:
        fields: list of `ReceptiveField`.

    Returns: `matplotlib.figure.Figure`.
    Raises: ValueError: if there is none.
    """
    _check(fields)
    dirac = [one for one in fields if one.scales is not None]
    with style():
        figure, axes = new_figure(6.5, 6.2 if dirac else 3.8, 2 if dirac else 1, 1, sharex=True)
        upper, *lower = np.atleast_1d(axes)
        known = [one for one in fields if one.sides is not None]
        upper.plot([one.depth for one in known], [max(one.sides) for one in known], marker="o", label="theoretical")
        sides = [one.effective_side for one in fields]
        upper.plot([one.depth for one in fields], sides, marker="o", label="effective (Luo et al. 2016)")
        side = max(fields[0].effective.shape)
        upper.axhline(side, color="#777777", linewidth=0.9, linestyle=":", label="image")
        upper.set(title="receptive field by layer", ylabel="side, pixels", ylim=(0, None))
        for axis in lower:
            _draw_scales(axis, dirac)
        (lower[-1] if lower else upper).set_xlabel("layer with a kernel")
        legend(figure)
    return figure


def save_picture(figure, path, dpi=None):
    """`pages.save_figure`, without a word of letters that the font has not."""
    with style():
        return save_figure(figure, path, dpi)


def png_of(figure, dpi=110):
    """Bytes of a figure as PNG; the way it is in a page that shows many."""
    file = io.BytesIO()
    with style():
        figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def _check(fields):
    if not fields:
        raise UserError("fields must hold one ReceptiveField or more. Received none.")


def _draw_scales(axis, dirac):
    depths = [one.depth for one in dirac]
    for name, label in (("identity_scale_mean", "a, of the identity"), ("filter_scale_mean", "b, of the filters")):
        values = [getattr(one.scales, name) for one in dirac]
        if any(value is not None for value in values):
            place = 2 if name.startswith("identity") else 3
            numbers = [np.nan if value is None else value for value in values]
            axis.plot(depths, numbers, marker="s", color=COLOURS[place], linestyle="-", label=label)
    axis.axhline(0.0, color="#777777", linewidth=0.9)
    axis.set(title="scales of the Dirac layers, mean over filters", ylabel="scale")


def _grey(pixels):
    return pixels.astype("float64").mean(axis=-1)


def _interpolation(pixels):
    return "nearest" if max(pixels.shape[:2]) <= SMALL else "antialiased"


def _show(axis, pixels):
    colour = pixels[..., :3] if pixels.shape[-1] >= 3 else _grey(pixels)
    axis.imshow(colour, cmap="gray", vmin=0, vmax=255, interpolation=_interpolation(pixels))
    _bare(axis)


def _over(axis, pixels, values, is_signed):
    """Draw a map over a pale grey image: the larger a value, the more its colour covers."""
    grey = 0.35 * 255 + 0.65 * _grey(pixels)
    axis.imshow(grey, cmap="gray", vmin=0, vmax=255, interpolation=_interpolation(pixels))
    limit = float(np.percentile(np.abs(values), CLIPPED) if is_signed else values.max())
    limit = limit if limit > 0 else float(np.abs(values).max()) or 1.0
    strength = np.clip(np.abs(values) / limit, 0.0, 1.0)
    shown = axis.imshow(
        values,
        cmap="RdBu_r" if is_signed else "inferno",
        vmin=-limit if is_signed else 0.0,
        vmax=limit,
        alpha=0.85 * strength**0.7,
        interpolation="nearest",
    )
    _bare(axis)
    return shown


def _bare(axis):
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _bar(figure, axis, shown, is_signed):
    bar = figure.colorbar(shown, ax=axis, orientation="horizontal", shrink=0.8, pad=0.02)
    bar.solids.set_alpha(1.0)
    low, high = shown.get_clim()
    bar.set_ticks([low, 0.0, high] if is_signed else [low, high])
    bar.set_ticklabels(["against", "0", "for"] if is_signed else ["0", "for"])
    return bar


def _hide(bar):
    """Leave nothing of a colour bar but its room."""
    bar.solids.set_visible(False)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color="none", labelcolor="none")


def _title(axis, first, name, before="", after=""):
    """Two lines above a panel, no wider than it: of a name that is too long both ends."""
    name = drawable(name)
    least, most = LEAST_LETTERS, min(columns(name), MOST_LETTERS)
    if most > least and _width(before + shortened(name, most) + after) > PANEL - MARGIN:
        while most - least > 1:  # so many fit, so many do not
            middle = (least + most) // 2
            is_wide = _width(before + shortened(name, middle) + after) > PANEL - MARGIN
            least, most = (least, middle) if is_wide else (middle, most)
        most = least
    text = axis.set_title(f"{first}\n{before}{in_place(shortened(name, most))}{after}", fontsize=TITLE_SIZE)
    text.set_parse_math(False)  # a dollar in a name is a dollar


def _width(text):
    """Inches that a title's line takes."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(size=TITLE_SIZE, weight="bold")
    return TextPath((0, 0), text.replace("$", "s"), prop=font).get_extents().width / 72


def _share(one, index):
    return "" if one.probabilities is None else f", {one.probabilities[index]:.1%}"
