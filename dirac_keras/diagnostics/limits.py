"""Thresholds in a picture: where a measurement becomes a finding, and which side is healthy."""

import math

import numpy as np

from dirac_keras.pages import COLOURS

LIMIT = COLOURS[1]
WORDS = "#9A4200"  # the same hue, dark enough for small letters
ROOM = {"log": 3.0, "linear": 4.0}  # beyond a threshold: a factor; units of the axis


def draw_limit(axis, value, text, is_least):
    """A dashed line, the side that is not healthy shaded, and on that side what it means.

    Args:
        axis: `matplotlib.axes.Axes`, logarithmic or linear, with a line of measurements.
        value: number, the threshold.
        text: what it means to be beyond.
        is_least: bool, whether what lies below is not healthy; else what lies above.
    """
    from matplotlib.patheffects import withStroke

    is_log = axis.get_yscale() != "linear"
    room = ROOM["log" if is_log else "linear"]
    low, high = axis.get_ylim()
    low = min(low, value / room if is_log else value - room)
    high = max(high, value * room if is_log else value + room)
    axis.axhline(value, color=LIMIT, linestyle="--", linewidth=1.2)
    axis.axhspan(low if is_least else value, value if is_least else high, color=LIMIT, alpha=0.07, linewidth=0)
    axis.set_ylim(low, high)
    is_right = _distance(axis, value, -1, is_log) >= _distance(axis, value, 0, is_log)  # where the line is farther off
    axis.annotate(
        text,
        (0.99 if is_right else 0.01, value),
        (0, -3 if is_least else 3),
        xycoords=axis.get_yaxis_transform(),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="top" if is_least else "bottom",
        size="small",
        color=WORDS,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],  # readable where the line crosses it after all
    )


def draw_ring(axis, number, value):
    """A ring around the measurement that decides."""
    if math.isfinite(value):
        ring = {"markersize": 10, "markerfacecolor": "none", "markeredgecolor": "#222222"}
        axis.plot(number, value, "o", clip_on=False, **ring)


def _distance(axis, value, end, is_log):
    """How far the first line is from a value at one of its ends."""
    heights = np.asarray(axis.lines[0].get_ydata(), "float64")
    heights = heights[np.isfinite(heights) & ((heights > 0) | (not is_log))]
    if not len(heights):
        return 0.0
    return abs(math.log(heights[end] / value)) if is_log else abs(heights[end] - value)
