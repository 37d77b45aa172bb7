"""What people look at: one frame for every HTML page that the package writes, one style for every picture."""

from dirac_keras.pages.drawing import (
    COLOURS,
    LINES,
    entitle,
    headline,
    legend,
    new_figure,
    plain_numbers,
    save_figure,
    style,
)
from dirac_keras.pages.page import Page
from dirac_keras.pages.tables import Cell
from dirac_keras.pages.text import columns, drawable, escape, in_legend, in_place, isolated, shortened

__all__ = [
    "COLOURS",
    "LINES",
    "Cell",
    "Page",
    "columns",
    "drawable",
    "entitle",
    "escape",
    "headline",
    "in_legend",
    "in_place",
    "isolated",
    "legend",
    "new_figure",
    "plain_numbers",
    "save_figure",
    "shortened",
    "style",
]
