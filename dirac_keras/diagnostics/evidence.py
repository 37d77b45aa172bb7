"""The pictures that carry the verdict: what each rule went by, layer by layer, with its threshold."""

from dataclasses import dataclass
from typing import Any

from dirac_keras.diagnostics.limits import draw_limit, draw_ring
from dirac_keras.diagnostics.pictures import draw, whole_numbers
from dirac_keras.diagnostics.scales import SCALE_THRESHOLD
from dirac_keras.diagnostics.verdict import (
    DEFAULT_THRESHOLDS,
    dead_share,
    judged_rank,
    layer_signs,
    signs,
    starts_at_zero,
)
from dirac_keras.pages import COLOURS, entitle, legend, new_figure, plain_numbers, style

FLOOR = 1e-12  # what is 0, on a logarithmic axis
LINE = COLOURS[0]


@dataclass(frozen=True)
class Evidence:
    """A picture that the verdict rests on.

    Attributes:
        title: what is drawn.
        healthy: one line, what a healthy network shows.
        found: one line, what this one shows.
        figure: `matplotlib.figure.Figure`.
    """

    title: str
    healthy: str
    found: str
    figure: Any


@style()
def gather_evidence(diagnosis, thresholds=DEFAULT_THRESHOLDS):
    """The pictures of the rules that were judged, in the order of `judge`.

    Args:
        diagnosis: `Diagnosis`.
        thresholds: `Thresholds` of the verdict.

    Returns: list of `Evidence`; those of Dirac scales, which no rule judges, at the end.
    """
    rules = (_own_share, _relative_gradient) if diagnosis.at_start else (_rank,)
    found = [rule(diagnosis, thresholds) for rule in (_zero_units, *rules, _scales)]
    return [one for one in found if one is not None]


def _own_share(diagnosis, thresholds):
    share = signs(diagnosis)["own_share"]
    points = [(k, own) for k, _, own, _ in layer_signs(diagnosis) if own is not None]
    if share is None or not points:
        return None
    figure, axis = _axis("Share of the responses that differs from image to image", "own share", points)
    least = thresholds.own_share
    draw_limit(axis, least, f"below {least:g}: one pattern", is_least=True)
    draw_ring(axis, points[-1][0], max(points[-1][1], FLOOR))
    return Evidence(
        "Own share",
        f"Healthy: the last hidden layer (ringed) keeps more than {least:g}; below, all images look "
        "alike to the classifier.",
        f"Here: {share:.2g}, {_times(share, least)} the threshold.",
        figure,
    )


def _relative_gradient(diagnosis, thresholds):
    found = signs(diagnosis)
    if found["relative_gradient"] is None:
        return None
    layers = [(k, record, size) for k, record, _, size in layer_signs(diagnosis) if size is not None]
    figure, axis = _axis(
        "Gradient of each kernel, relative to the kernel",
        "norm of the gradient / norm of the kernel",
        [(k, size) for k, _, size in layers],
    )
    least, most, growth = thresholds.relative_gradient, thresholds.relative_gradient_limit, thresholds.gradient_growth
    largest = max(layers, key=lambda layer: layer[2])
    draw_limit(axis, least, f"the largest below {least:g}: vanishing", is_least=True)
    if not diagnosis.has_normalization:
        draw_limit(axis, most, f"the largest above {most:g}: exploding", is_least=False)
    text = f"Here: the largest is {largest[2]:.2g} ({largest[1].name})"
    positive = [layer for layer in layers if layer[2] > 0]
    if found["gradient_growth"] is not None:
        smallest = min(positive, key=lambda layer: layer[2])
        below = largest[2] / growth
        if below > 0.01 * smallest[2]:  # else it would press the curve together
            draw_limit(axis, below, f"the smallest below the largest / {growth:,.0f}: uneven", is_least=True)
        text += f", {found['gradient_growth']:.2g} times the smallest ({smallest[1].name}); {growth:,.0f} is the limit"
    zeros = sum(size == 0 for *_, size in layers)
    text += f"; it is 0 in {zeros} of {len(layers)} layers, drawn at {FLOOR:g}" if zeros else ""
    bounds = f"above {least:g}" if diagnosis.has_normalization else f"between {least:g} and {most:g}"
    return Evidence(
        "Relative gradient",
        f"Healthy: the largest is {bounds}, and no layer's is {growth:,.0f} times that of another.",
        f"{text}.",
        figure,
    )


def _rank(diagnosis, thresholds):
    hidden = [(k, r) for k, r in enumerate(diagnosis.layers, 1) if not r.is_output and r.spectrum is not None]
    if not hidden:
        return None
    points = [(k, record.spectrum.effective_rank) for k, record in hidden]
    least, last = judged_rank(diagnosis, thresholds), points[-1][1]
    figure, axis = _axis("Effective rank of the responses", "effective rank", points)
    if least is None:
        healthy, found = "Not judged here: there are too few classes or images.", f"Here: {last:.1f} at the end."
    else:
        draw_limit(axis, least, f"below {least:.1f}: low rank", is_least=True)
        healthy = (
            f"Healthy: the last hidden layer (ringed) has {least:.1f} patterns or more, {thresholds.rank_per_class:g} "
            "for each class."
        )
        found = f"Here: {last:.1f}, {_times(last, least)} the threshold."
    draw_ring(axis, points[-1][0], max(points[-1][1], FLOOR))
    return Evidence("Effective rank", healthy, found, figure)


def _zero_units(diagnosis, thresholds):
    hidden = [(k, r) for k, r in enumerate(diagnosis.layers, 1) if not r.is_output]
    shares = [(k, r, dead_share(r)) for k, r in hidden if not starts_at_zero(diagnosis, r)]
    shares = [  # behind other functions than ReLU no unit dies, but a layer may be silent
        (k, r, r.spectrum.zero_units if share is None and r.spectrum is not None else share) for k, r, share in shares
    ]
    shares = [(k, r, share) for k, r, share in shares if share is not None]
    if not any(share for *_, share in shares):
        return None
    points = [(k, 100 * share) for k, _, share in shares]
    figure, axis = _axis("Units that are 0 for every image", "% of units", points, is_log=False)
    axis.set_ylim(-3, 108)
    most = 100 * (1 - thresholds.living_units)
    draw_limit(axis, most, f"above {most:g} %: dead units", is_least=False)
    _, worst, share = max(shares, key=lambda layer: layer[2])
    return Evidence(
        "Silent units",
        f"Healthy: few, none above {most:g} %. A layer at 100 % is silent: no gradient passes it.",
        f"Here: at most {share:.0%} ({worst.name}).",
        figure,
    )


def _scales(diagnosis, thresholds):
    layers = [(k, r) for k, r in enumerate(diagnosis.layers, 1) if r.scales is not None]
    if not layers:
        return None
    figure, axis = new_figure(6.5, 3.6)
    parts, is_positive = [], True
    for colour, name, symbol in ((COLOURS[0], "identity_scale", "a"), (COLOURS[2], "filter_scale", "b")):
        for statistic, line in (("mean", "-"), ("min", ":")):
            points = [(k, getattr(record.scales, f"{name}_{statistic}")) for k, record in layers]
            points = [point for point in points if point[1] is not None]
            if not points:
                continue
            is_positive &= all(value > 0 for _, value in points)
            draw(axis, points, f"mean {symbol}" if statistic == "mean" else f"smallest |{symbol}|", colour)
            axis.lines[-1].set_linestyle(line)
            if statistic == "mean":
                low, high = min(value for _, value in points), max(value for _, value in points)
                parts.append(f"mean {symbol} from {low:.2g} to {high:.2g}")
    axis.set(xlabel="layer", ylabel="scale", title="Scales of the Dirac layers: a of the skip, b of the filters")
    axis.set_yscale("log") if is_positive else axis.set_yscale("symlog", linthresh=SCALE_THRESHOLD)
    whole_numbers(axis)
    draw_limit(axis, SCALE_THRESHOLD, f"below {SCALE_THRESHOLD:g}: as good as 0", is_least=True)
    legend(figure)
    worst = max(layers, key=lambda layer: layer[1].scales.degraded_filters)[1]
    lost = worst.scales.degraded_filters
    parts.append(
        f"at most {lost:.0%} of a layer's filters have lost one ({worst.name})" if lost else "no filter lost one"
    )
    return Evidence(
        "Dirac scales a and b",
        f"Healthy: both above {SCALE_THRESHOLD:g}. A filter with a below it has lost its skip, with b its weights.",
        f"Here: {', '.join(parts)}.",
        figure,
    )


def _axis(title, label, points, is_log=True):
    figure, axis = new_figure(6.5, 3.6)
    draw(axis, [(k, max(value, FLOOR)) for k, value in points] if is_log else points, "", LINE)
    axis.set(xlabel="layer", ylabel=label)
    entitle(axis, title)
    if is_log:
        axis.set_yscale("log", nonpositive="clip")
        plain_numbers(axis.yaxis)
    whole_numbers(axis)
    legend(figure, least=1)  # if something is infinite
    return figure, axis


def _times(value, threshold):
    ratio = value / threshold
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"
