"""`Diagnostics`: the state of every layer during `model.fit`, in TensorBoard."""

import inspect
import io
import logging
import math
import time
from collections.abc import Iterator

import keras
import numpy as np

from dirac_keras.callbacks.tensorboard import has_tensorboard
from dirac_keras.diagnostics.curves import CURVES
from dirac_keras.diagnostics.diagnosis import measure
from dirac_keras.diagnostics.pictures import plot_depth
from dirac_keras.diagnostics.verdict import judge
from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted
from dirac_keras.files.event_files import EventWriter
from dirac_keras.pages import style

logger = logging.getLogger("dirac_keras")

PICTURES = ("mean", "max_absolute", "units_above", "rank", "weight_condition_number", "kernel_gradient_norm")
HISTOGRAMS = (("activations", "unit_means"), ("spectrum", "singular_values"))

OPTIONS = set(inspect.signature(measure).parameters) - {"model", "data"}


class Diagnostics(keras.callbacks.Callback):
    """Measures the network before the first epoch and after every few, and writes it to TensorBoard.

    Scalars are `diagnostics/QUANTITY/LAYER`, histograms the units' means and the singular values of each layer,
    pictures the quantities over the depth. Before epoch 0 the network is measured as one that was never trained; give
    `at_start=False` for one that was. The verdict and what it cost are logged each time.

    Args:
        data: as `measure` takes it; it has to start anew at every iteration (a `tf.data.Dataset`, arrays).
        every_epochs: int, 1 or more.
        log_dir: folder of TensorBoard, written where the package `tensorboard` is installed; None writes nothing.
            `latest` keeps the last `Diagnosis` in any case.
        max_images: int, so many of the data are used, the first; they should come in a random order.
        max_seconds: number; a measurement that took longer halves the images of the next ones. None: no bound.
        options: more arguments of `measure`, such as `quantities`.

    Raises: ValueError: if an argument is out of range.
    """

    def __init__(self, data, every_epochs=1, log_dir=None, max_images=512, max_seconds=None, **options):
        super().__init__()
        for name, value, least in (("every_epochs", every_epochs, 1), ("max_images", max_images, 2)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(f"{name} must be a whole number of {least} or more. Received {name}={value!r}.")
        if max_seconds is not None and not (isinstance(max_seconds, (int, float)) and 0 < max_seconds < math.inf):
            raise UserError(f"max_seconds must be a number above 0, or None. Received max_seconds={max_seconds!r}.")
        if isinstance(data, Iterator):
            raise UserError(
                f"data must start anew at every iteration. Received a {type(data).__name__}, which can be read once; "
                "give a tf.data.Dataset, arrays or a list of batches."
            )
        unknown = sorted(set(options) - OPTIONS)
        if unknown:
            raise UserError(f"Diagnostics takes the arguments of measure(). Received {unknown[0]}, which is none.")
        self.data = data
        self.every_epochs = every_epochs
        self.log_dir = log_dir
        self.max_images = max_images
        self.max_seconds = max_seconds
        self.options = options
        self.latest = None
        self.seconds = []  # of each measurement, writing included
        self._writer = None

    def on_train_begin(self, logs=None):
        if self.log_dir is not None and self._writer is None and has_tensorboard(self.log_dir):
            self._writer = EventWriter(self.log_dir)
        self._is_first = True

    def on_epoch_begin(self, epoch, logs=None):
        if self._is_first:  # the state that training starts from, also when it resumes at a later epoch
            self._is_first = False
            if not self.params.get("first_batch"):  # in the middle of an epoch: no state that has a place here
                self._measure(epoch)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every_epochs == 0:
            self._measure(epoch + 1)

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _measure(self, epoch):
        start = time.perf_counter()
        options = {"at_start": epoch == 0, **self.options}
        self.latest = measure(self.model, _First(self.data, self.max_images), **options)
        if self._writer is not None:
            self._write(epoch)
        self.seconds.append(time.perf_counter() - start)
        verdict, seconds = judge(self.latest), self.seconds[-1]
        logger.info(
            "diagnosis after epoch %d (%s, %.1f s): %s",
            epoch,
            counted(self.latest.samples, "image"),
            seconds,
            verdict.summary,
        )
        # The first measurement compiles; it says little of the next ones.
        if self.max_seconds is not None and len(self.seconds) > 1 and self.seconds[-1] > self.max_seconds:
            self.max_images = max(2, self.latest.samples // 2)
            logger.info(
                "diagnostics: that is above max_seconds=%g; now %s", self.max_seconds, counted(self.max_images, "image")
            )

    def _write(self, epoch):
        writer = self._writer
        for record in self.latest.layers:
            for quantity, curve in CURVES.items():
                value = _value(record, curve.group, curve.field)
                if value is not None and math.isfinite(value):
                    writer.scalar(f"diagnostics/{quantity}/{record.name}", value, epoch)
            for group, field in HISTOGRAMS:
                values = getattr(getattr(record, group), field, None)
                if values is not None and len(values):
                    writer.histogram(f"diagnostics/{field}/{record.name}", np.asarray(values), epoch)
        for quantity in PICTURES:
            try:
                figure = plot_depth(self.latest, quantity)
            except ValueError:  # no layer has it
                continue
            file = io.BytesIO()
            with style():
                figure.savefig(file, format="png", dpi=80)
            writer.picture(f"diagnostics/{quantity}", file.getvalue(), epoch)
        writer.flush()


class _First:
    """The first images of data, batch by batch; can be iterated again."""

    def __init__(self, data, count):
        self._data, self._count = data, count

    def __iter__(self):
        if isinstance(self._data, tuple) or hasattr(self._data, "shape"):
            yield keras.tree.map_structure(lambda array: array[: self._count], self._data)
            return
        left = self._count
        for batch in self._data:
            size = len(keras.tree.flatten(batch)[0])
            yield keras.tree.map_structure(lambda part: part[: min(size, left)], batch)  # noqa: B023 - used at once
            left -= size
            if left <= 0:
                return


def _value(record, group, field):
    value = getattr(getattr(record, group), field, None)
    return next(iter(value.values()), None) if isinstance(value, dict) else value
