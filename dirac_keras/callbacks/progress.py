"""What a terminal shows while a network trains."""

import time

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SHOWN = ("loss", "accuracy", "top5", "f1_macro", "f1_micro", "exact_match", "mae")  # the metrics of all tasks


class ProgressReport(keras.callbacks.Callback):
    """A bar while an epoch runs (on a terminal) and a line when it ends."""

    def __init__(self, epochs, steps_per_epoch, console=None):
        super().__init__()
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.console = console or Console()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start = time.perf_counter()
        self._bar = None
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn(f"epoch {epoch + 1}/{self.epochs}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[numbers]}"),
                TimeRemainingColumn(),
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
        words.append(f"{time.perf_counter() - self._epoch_start:.1f} s")
        words.append(f"{logs['images_per_second']:,.0f} images/s")
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
