"""The one style of every picture: type, colours, grid; where the legend goes; how it is written."""

import contextlib
import functools
import io
import logging
import textwrap
import warnings

from dirac_keras.files.atomic import atomic_path

# Okabe and Ito 2008, "Color Universal Design": told apart with any colour blindness. Their yellow is too pale for a
# line on white and is left out; the order puts the strongest contrasts first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
# For letters that DejaVu Sans has not, those of these that are installed; matplotlib cannot draw fonts of bitmaps.
FALLBACKS = (
    *(f"Noto Sans CJK {part}" for part in ("SC", "TC", "JP", "KR")),
    *("Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "IPAGothic", "NanumGothic"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "Segoe UI Emoji", "Segoe UI Symbol"),
    *("Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Noto Emoji", "FreeSans"),
)
LINES = ("-", "--", ":")  # beyond as many lines as colours the dashes tell them apart
_LETTER = 0.105  # inches: of bold 12 points
DPI = 130
LACKING = r"Glyph \d+ .* missing from"  # matplotlib's warning

logger = logging.getLogger("dirac_keras")


@contextlib.contextmanager
def style():
    """The package's matplotlib style, for as long as it is entered: make, draw and save a figure inside.

    Also a decorator of functions that draw: `@style()`. What was set before holds again afterwards.
    """
    import matplotlib
    from cycler import cycler

    with (
        _told_of_letters(),
        matplotlib.rc_context(
            {
                # matplotlib brings the first: pictures are alike on every machine.
                "font.family": ["DejaVu Sans", *_installed(FALLBACKS)],
                "font.size": 10.0,
                "text.color": "#222222",
                "axes.labelcolor": "#222222",
                "axes.edgecolor": "#777777",
                "axes.titlesize": 11.0,
                "axes.titleweight": "bold",
                "axes.titlelocation": "left",
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.prop_cycle": cycler(linestyle=LINES) * cycler(color=COLOURS),
                "axes.grid": True,
                "axes.axisbelow": True,
                "grid.color": "#bbbbbb",
                "grid.alpha": 0.5,
                "grid.linewidth": 0.6,
                "xtick.color": "#555555",
                "ytick.color": "#555555",
                "lines.linewidth": 1.5,
                "lines.markersize": 3.5,
                "errorbar.capsize": 2.5,
                "legend.frameon": False,
                "legend.fontsize": 9.0,
                "figure.titlesize": 12.0,
                "figure.titleweight": "bold",
                "figure.facecolor": "white",
                "savefig.facecolor": "auto",
                "savefig.dpi": DPI,
                "image.cmap": "viridis",
                "svg.hashsalt": "dirac_keras",  # the same picture is the same file
            }
        ),
    ):
        yield


@functools.cache
def _installed(families):
    from matplotlib.font_manager import fontManager

    known = {font.name for font in fontManager.ttflist}
    return [family for family in families if family in known]


@contextlib.contextmanager
def _told_of_letters():
    """One line for all letters that no font has, of each of which matplotlib would warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=LACKING)
        show = warnings.showwarning

        def show_others(message, *where, **more):
            if str(message).startswith("Glyph "):
                _tell_of_letters()
            else:
                show(message, *where, **more)

        warnings.showwarning = show_others
        yield


@functools.cache
def _tell_of_letters():
    logger.warning(
        "a picture has boxes in place of letters that no font here has. Install one that has them, such as Noto Sans "
        "CJK for Chinese, Japanese and Korean; pages have the fonts of their browser."
    )


def new_figure(width=6.5, height=4.2, rows=1, columns=1, **options):
    """A figure and its axes, without pyplot: no global state, no display.

    Args:
        width, height: inches.
        rows, columns: ints, of panels.
        options: of `Figure.subplots`, such as `sharey`.

    Returns: `(matplotlib.figure.Figure, axes)`: one `Axes` if there is one panel, else an array of them as
        `Figure.subplots` makes it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    # By this a notebook shows what a cell ends with; of itself only pyplot tells it how.
    figure._repr_png_ = functools.partial(_png_of, figure)
    return figure, figure.subplots(rows, columns, **options)


def _png_of(figure):
    file = io.BytesIO()
    with style():
        figure.savefig(file, format="png")
    return file.getvalue()


def legend(figure, axes=None, title=None, least=2):
    """A legend below the panels, where it covers no data.

    Args:
        figure: `matplotlib.figure.Figure`.
        axes: those whose labels it takes; None takes those of all. A label that several have is there once.
        title: text above it, or None.
        least: int; fewer entries have no legend. One line alone is told by the title.
    """
    entries = {}
    for axis in figure.axes if axes is None else axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if len(entries) < least:
        return
    longest = max(len(label) for label in entries)
    # A letter of 9 points is some 0.075 inches wide, the line before it 0.45.
    columns = max(1, min(len(entries), int(figure.get_figwidth() / (0.075 * longest + 0.45))))
    made = figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, title=title)
    for text in made.get_texts():
        text.set_parse_math(False)  # a dollar in a name is a dollar


def headline(figure, text):
    """A title over all panels, at the left, broken into lines that fit.

    Args:
        figure: `matplotlib.figure.Figure`.
        text: what is compared.
    """
    letters = int(figure.get_figwidth() / _LETTER)
    figure.suptitle("\n".join(textwrap.wrap(text, max(letters, 20))), x=0.01, ha="left", parse_math=False)


def entitle(axis, text):
    """A title over one panel, broken into lines that fit over it."""
    letters = int(axis.figure.get_figwidth() * axis.get_position().width / _LETTER)
    axis.set_title("\n".join(textwrap.wrap(text, max(letters, 20))), parse_math=False)


def plain_numbers(axis, minor=(2, 0.4)):
    """Numbers of a logarithmic axis as people write them, 60 and 0.4, not 6 times a power of ten.

    Args:
        axis: `matplotlib.axis.Axis`, such as `axes.yaxis`.
        minor: of how many decades at most the numbers between the powers are written: as matplotlib's `LogFormatter`.
    """
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def _num_to_string(self, x, vmin, vmax):
            return f"{x:g}"

    for setter in (axis.set_major_formatter, axis.set_minor_formatter):
        setter(Plain(labelOnlyBase=False, minor_thresholds=minor))


def save_figure(figure, path, dpi=None):
    """Write a figure as PNG, whole or not at all.

    Args:
        figure: `matplotlib.figure.Figure`.
        path: of the file; one that is there is replaced. None writes nothing.
        dpi: dots an inch; None takes the style's.

    Returns: the figure.
    Raises: ValueError: if it cannot be written.
    """
    if path is not None:
        with style(), atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=dpi or DPI)
    return figure
