"""What a notebook shows while a network trains: one cell output that is drawn anew, a table and curves."""

import html
import math
import sys
import time
import warnings

import keras

from dirac_keras.callbacks.progress import SHOWN, EpochClock, ProgressReport, compiling_seconds

SECONDS = 0.5  # between two drawings within an epoch
ROWS = 8  # epochs in the table
WIDTH, HEIGHT, MARGIN = 260, 120, 8  # pixels of a curve's picture
CELL = "text-align: right; padding: 1px 8px"
TRAIN, HELD_OUT = "#0072B2", "#D55E00"  # Okabe and Ito, as in the package's pictures


def open_report(epochs, steps_per_epoch, console=None, rows=(), resumed_after=0):
    """The report that suits the place: a `NotebookReport` in a notebook that has no console of its own."""
    if console is None and is_notebook():
        return NotebookReport(epochs, steps_per_epoch, rows, resumed_after)
    return ProgressReport(epochs, steps_per_epoch, console)


def is_notebook():
    """Whether the code runs in a kernel whose outputs are HTML: Jupyter, JupyterLab, VS Code, Colab."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


class NotebookReport(keras.callbacks.Callback):
    """A progress bar with the time left, a table of the last epochs and the curves, in one output of the cell.

    Args:
        epochs, steps_per_epoch: ints.
        rows: list of dicts as in `metrics.csv`, the epochs that a resumed run has had before.
        resumed_after: int, the steps that it has had before; 0 of a run that begins.
    """

    def __init__(self, epochs, steps_per_epoch, rows=(), resumed_after=0):
        super().__init__()
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.rows = list(rows)
        self.resumed_after = resumed_after
        self.clock = EpochClock(epochs)
        self._epoch = self._step = self._left = None
        self._handle = None
        self._drawn = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._step, self._left = epoch, 0, self.clock.begin(epoch)
        self._show({})

    def next_step(self, step):
        """None: where a chunk of steps ends is early enough, see `training.chunks.ends`."""

    def on_train_batch_end(self, batch, logs=None):
        self._step = batch + 1
        if time.monotonic() - self._drawn >= SECONDS:
            self._show(logs or {})

    def on_epoch_end(self, epoch, logs=None):
        self._left = self.clock.end(epoch, compiling_seconds(logs, self.steps_per_epoch))
        self.rows.append({"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}})
        self._step = self.steps_per_epoch
        self._show({})

    def close(self):
        """A training that ends before its last epoch, for whatever reason, is no longer shown as one that runs."""
        if self._epoch is not None and self._epoch + self._step / self.steps_per_epoch < self.epochs:
            self._show({}, has_stopped=True)
            # An interruption ends a process; of a cell that it ends, IPython says how to leave.
            warnings.filterwarnings("ignore", message="To exit: use")

    def _show(self, running, has_stopped=False):
        from IPython.display import HTML, display

        self._drawn = time.monotonic()
        share = self._step / self.steps_per_epoch
        resumed = f"resumed after step {self.resumed_after:,}" if self.resumed_after else ""
        text = HTML(page(self.rows, self.epochs, self._epoch, share, self._left, running, has_stopped, resumed))
        if self._handle is None:
            self._handle = display(text, display_id=True)
        else:
            self._handle.update(text)


def page(rows, epochs, epoch, share, left, running=None, has_stopped=False, resumed=""):
    """The HTML of a training.

    Args:
        rows: list of dicts, the epochs that have ended; each with `epoch`.
        epochs: int, of the whole training.
        epoch: int from 0, the one that runs.
        share: float, part of it that is done.
        left: str, time left; "" if unknown.
        running: dict, means of the epoch so far.
        has_stopped: bool, whether it runs no more, though epochs are left.
        resumed: str, where a resumed run began; "" of others.
    """
    done = min(epoch + share, epochs)
    head = f"epoch {min(epoch + 1, epochs)} of {epochs}"
    if has_stopped:
        head = f"stopped {'in' if share < 1 else 'after'} {head}"
    elif left and done < epochs:
        head += f", {left} left"
    head += f", {resumed}" if resumed else ""
    numbers = "  ".join(f"{name} {float(value):.4f}" for name, value in (running or {}).items())
    parts = [
        '<div style="font-family: sans-serif; font-size: 13px">',
        f'<progress value="{done:.4f}" max="{epochs}" style="width: 300px"></progress> ',
        html.escape("  ".join(filter(None, [head, numbers]))),
    ]
    if rows:
        parts += [_table(rows[-ROWS:]), *(_curve(rows, name) for name in SHOWN if name in rows[0])]
    return "".join([*parts, "</div>"])


def _table(rows):
    known = {name for row in rows for name in row}
    names = [name for name in (*SHOWN, *(f"val_{name}" for name in SHOWN)) if name in known]
    names += [name for name in ("learning_rate", "seconds") if name in known]
    cells = "".join(f'<th style="{CELL}">{html.escape(name)}</th>' for name in ("epoch", *names))
    lines = [f"<tr>{cells}</tr>"]
    for row in rows:
        values = [str(row["epoch"]), *(_number(name, row.get(name)) for name in names)]
        lines.append("<tr>" + "".join(f'<td style="{CELL}">{value}</td>' for value in values) + "</tr>")
    return f"<table>{''.join(lines)}</table>"


def _number(name, value):
    if value is None:
        return ""
    return f"{value:.1f}" if name == "seconds" else f"{value:.4g}" if name == "learning_rate" else f"{value:.4f}"


def _curve(rows, name):
    """An SVG picture of one figure over the epochs, in training and held out."""
    known = {key for row in rows for key in row}
    lines = {key: [row.get(key, math.nan) for row in rows] for key in (name, f"val_{name}") if key in known}
    finite = [value for values in lines.values() for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    across, up = max(len(rows) - 1, 1), (high - low) or 1.0

    def points(values):
        return [
            f"{MARGIN + (WIDTH - 2 * MARGIN) * number / across:.1f},"
            f"{HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value - low) / up:.1f}"
            for number, value in enumerate(values)
            if math.isfinite(value)
        ]

    drawn = "".join(_line(points(values), HELD_OUT if key != name else TRAIN) for key, values in lines.items())
    legend = f'<span style="color: {TRAIN}">{name}</span>'
    legend += f' <span style="color: {HELD_OUT}">val_{name}</span>' if f"val_{name}" in lines else ""
    return (
        f'<div style="display: inline-block; margin: 4px">{legend} {low:.4g} to {high:.4g}<br>'
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{name} over the epochs" '
        f'style="border: 1px solid #bbbbbb">{drawn}</svg></div>'
    )


def _line(points, colour):
    """A line through points; one alone, as after the first epoch, is a dot of no length with round ends."""
    through = points * 2 if len(points) == 1 else points
    width, ends = (6, ' stroke-linecap="round"') if len(points) == 1 else (1.5, "")
    return f'<polyline points="{" ".join(through)}" fill="none" stroke="{colour}" stroke-width="{width}"{ends}/>'
