"""What a terminal shows while a network trains."""

import statistics
import time

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SHOWN = ("loss", "accuracy", "top5", "f1_macro", "f1_micro", "exact_match", "mae")  # the metrics of all tasks


class EpochClock:
    """Measures epochs, and says how long those to come will take.

    The first epoch of a process compiles, so it counts only while there is no other, without what its first step took
    beyond a usual one.

    Args:
        epochs: int, of the whole training.
    """

    def __init__(self, epochs):
        self.epochs = epochs
        self._seconds = []
        self._start = None

    def begin(self, epoch):
        """An epoch, counted from 0, begins. Returns: the time left of it and those behind it, "" if unknown."""
        self._start = time.perf_counter()
        return self._left(self.epochs - epoch)

    def end(self, epoch, compiling=0.0):
        """It ends. Returns: the time left of those behind it; "" behind the last.

        Args:
            compiling: number, seconds of the first one that no later epoch takes; of the others it counts nothing.
        """
        seconds = time.perf_counter() - self._start
        is_first = not self._seconds
        self._seconds.append(seconds - compiling if is_first and 0.0 < compiling < seconds else seconds)
        return self._left(self.epochs - epoch - 1)

    def _left(self, epochs):
        known = self._seconds[1:] or self._seconds
        return duration_text(epochs * statistics.median(known)) if known and epochs > 0 else ""


def compiling_seconds(logs, steps):
    """Seconds of an epoch beyond so many steps of the median time, which leaves a first step that compiles out."""
    if "step_milliseconds" not in logs:
        return 0.0
    return logs["seconds"] - steps * logs["step_milliseconds"] / 1e3


def duration_text(seconds):
    """`"45 s"`, `"2 min 05 s"`, `"3 h 10 min"`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class ProgressReport(keras.callbacks.Callback):
    """A bar while an epoch runs (on a terminal) and a line when it ends."""

    def __init__(self, epochs, steps_per_epoch, console=None):
        super().__init__()
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.console = console or Console()
        self.clock = EpochClock(epochs)

    def on_epoch_begin(self, epoch, logs=None):
        left = self.clock.begin(epoch)
        self._bar = None
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn(f"epoch {epoch + 1}/{self.epochs}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[numbers]}"),
                TimeRemainingColumn(),
                *([TextColumn(f"of all {left}")] if left else []),
                console=self.console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=self.steps_per_epoch, numbers="")
            self._bar.start()

    def next_step(self, step):
        """None: where a chunk of steps ends is early enough, see `training.chunks.ends`."""

    def on_train_batch_end(self, batch, logs=None):
        if self._bar:
            numbers = "  ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
            self._bar.update(self._task, completed=batch + 1, numbers=numbers)

    def on_epoch_end(self, epoch, logs=None):
        self._stop()
        words = [f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"]
        for name in (*SHOWN, *(f"val_{name}" for name in SHOWN)):
            if name in logs:
                words.append(f"{name} {logs[name]:.4f}")
        words.append(f"lr {logs['learning_rate']:.4g}")
        words.append(f"{logs['seconds']:.1f} s")
        words.append(f"{logs['images_per_second']:,.0f} images/s")
        if left := self.clock.end(epoch, compiling_seconds(logs, self.steps_per_epoch)):
            words.append(f"{left} left")
        self.console.print("  ".join(words), highlight=False, soft_wrap=True)

    def on_train_end(self, logs=None):
        self._stop()

    def close(self):
        """Take the bar off the terminal, after an exception too."""
        self._stop()

    def _stop(self):
        if getattr(self, "_bar", None):
            self._bar.stop()
            self._bar = None
