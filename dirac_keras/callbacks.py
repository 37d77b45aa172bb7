"""What happens during `model.fit`: when to measure, when to write, when to stop."""

import contextlib
import csv
import io
import math
import time

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dirac_keras.artifact import write_text


class TrainingDiverged(RuntimeError):
    """The loss is no number any more."""


class StopOnDivergence(keras.callbacks.Callback):
    """Ends the run after the step in which the epoch's mean loss became NaN or infinite, before that state is saved.

    Args:
        describe_kept: function without arguments that says what was saved before, for the message.
    """

    def __init__(self, describe_kept=lambda: "that state was not saved"):
        super().__init__()
        self.describe_kept = describe_kept

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._check(logs, self._epoch, f", step {batch + 1}")  # the mean over the epoch: it stays NaN

    def on_epoch_end(self, epoch, logs=None):
        self._check(logs, epoch)

    def _check(self, logs, epoch, step=""):
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise TrainingDiverged(
                f"The loss became {loss} in epoch {epoch + 1}{step}. Lower learning_rate, or use precision=float32; "
                f"{self.describe_kept()}."
            )


class Throughput(keras.callbacks.Callback):
    """Adds to an epoch's logs: `learning_rate` at its start, `seconds` and `images_per_second` of its training part."""

    def __init__(self, images_per_step):
        super().__init__()
        self.images_per_step = images_per_step

    def on_epoch_begin(self, epoch, logs=None):
        self._steps = 0
        self._seconds_before = 0.0
        self._learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._start = self._last = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self._steps = batch + 1
        self._last = time.perf_counter()

    def epoch_state(self):
        """What an interrupted epoch goes on with."""
        return {"learning_rate": self._learning_rate, "seconds": self._seconds(), "steps": self._steps}

    def restore_epoch_state(self, state):
        """Go on with an interrupted epoch."""
        self._learning_rate, self._seconds_before = state["learning_rate"], state["seconds"]
        self._steps = state["steps"]

    def _seconds(self):
        return self._seconds_before + self._last - self._start

    def on_epoch_end(self, epoch, logs=None):
        seconds = self._seconds()
        logs["learning_rate"] = self._learning_rate
        logs["seconds"] = seconds
        logs["images_per_second"] = self._steps * self.images_per_step / max(seconds, 1e-9)


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

    def on_train_batch_end(self, batch, logs=None):
        if self._bar:
            numbers = "  ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
            self._bar.update(self._task, completed=batch + 1, numbers=numbers)

    def on_epoch_end(self, epoch, logs=None):
        self._stop()
        words = [f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"]
        for name in ("loss", "accuracy", "top5", "val_loss", "val_accuracy", "val_top5"):
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


class MetricsTable(keras.callbacks.Callback):
    """`metrics.csv`, a row an epoch, written whole after each; rows of an interrupted run are taken up.

    Args:
        path: `pathlib.Path`.
        finished_epochs: int, rows beyond it (of an epoch that will be trained again) are dropped.
    """

    def __init__(self, path, finished_epochs=0):
        super().__init__()
        self.path = path
        self.rows = [row for row in read_table(path) if row["epoch"] <= finished_epochs]

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}})
        write_table(self.path, self.rows)


class ScaleMonitor(keras.callbacks.Callback):
    """Mean of a and b of every Dirac layer after each epoch, and at the start: the paper's Fig. 2.

    Writes `scales.csv` with a row for each layer and epoch, and adds nothing to the logs.

    Args:
        path: `pathlib.Path` of the table.
        finished_epochs: int, as for `MetricsTable`.

    Source: arXiv:1706.00388, section 3.3.
    """

    def __init__(self, path, finished_epochs=0):
        super().__init__()
        self.path = path
        self.rows = [row for row in read_table(path) if row["epoch"] <= finished_epochs]

    def on_train_begin(self, logs=None):
        if not self.rows:
            self._measure(0)

    def on_epoch_end(self, epoch, logs=None):
        self._measure(epoch + 1)

    def _measure(self, epoch):
        measured = mean_scales(self.model)
        self.rows += [{"epoch": epoch, "layer": layer, **means} for layer, means in measured.items()]
        if measured:
            write_table(self.path, self.rows)


def mean_scales(model):
    """`{layer name: {"identity_scale": mean a, "filter_scale": mean b}}` of the layers that have them."""
    found = {}
    for layer in model.layers:
        means = {
            name: float(np.mean(keras.ops.convert_to_numpy(getattr(layer, name))))
            for name in ("identity_scale", "filter_scale")
            if getattr(layer, name, None) is not None
        }
        if means:
            found[layer.name] = means
    return found


class TensorBoardScalars(keras.callbacks.Callback):
    """Loss, accuracy, learning rate, speed, and the scales of every Dirac layer, an epoch each.

    Args:
        folder: of the event files.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)

    def on_train_begin(self, logs=None):
        import tensorflow as tf

        self._tf = tf
        with writes_events(self.folder):
            self._writers = {
                part: tf.summary.create_file_writer(f"{self.folder}/{part}") for part in ("train", "validation")
            }

    def on_epoch_end(self, epoch, logs=None):
        with writes_events(self.folder):
            self._write(epoch, logs)

    def _write(self, epoch, logs):
        scalar = self._tf.summary.scalar
        with self._writers["validation"].as_default(step=epoch + 1):
            for name, value in logs.items():
                if name.startswith("val_"):
                    scalar(name.removeprefix("val_"), value)
        with self._writers["train"].as_default(step=epoch + 1):
            for name, value in logs.items():
                if not name.startswith("val_"):
                    scalar(name, value)
            for layer, means in mean_scales(self.model).items():
                for name, value in means.items():
                    scalar(f"{name}/{layer}", value)
        for writer in self._writers.values():
            writer.flush()

    def write_picture(self, name, path, step):
        """Show a PNG file under the pictures."""
        image = self._tf.io.decode_png(self._tf.io.read_file(str(path)), channels=3)
        with writes_events(self.folder), self._writers["train"].as_default(step=step):
            self._tf.summary.image(name, image[None])

    def close(self):
        with writes_events(self.folder):
            for writer in getattr(self, "_writers", {}).values():
                writer.close()


@contextlib.contextmanager
def writes_events(folder):
    """Raise ValueError, with the system's reason, when TensorBoard's files cannot be written: a full disk."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0].split("; ")[-1]  # "{{node}} path; reason", then more of the same
        raise ValueError(f"path: {folder} cannot be written: {reason}.") from error


def read_table(path):
    """Rows of a CSV file as dicts, numbers as floats (`epoch` as int); an absent file has none."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: _number(name, value) for name, value in row.items()} for row in csv.DictReader(file)]


def write_table(path, rows):
    """Write rows of equal or different fields as one CSV file, whole or not at all."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _number(name, value):
    if name == "epoch":
        return int(value)
    try:
        return float(value)
    except ValueError:
        return value
