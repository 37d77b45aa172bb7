"""Scalars and pictures for TensorBoard."""

import contextlib
import logging

import keras

from dirac_keras.callbacks.scales import mean_scales
from dirac_keras.errors import UserError

logger = logging.getLogger("dirac_keras")


class TensorBoardScalars(keras.callbacks.Callback):
    """Loss, accuracy, learning rate, speed, and the scales of every Dirac layer, an epoch each.

    TensorFlow writes the files. Where it is not installed, the log says so once and nothing is written.

    Args:
        folder: of the event files.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)
        self._writers = {}

    def on_train_begin(self, logs=None):
        self._tf = find_tensorflow(self.folder)
        if self._tf is None:
            return
        with writes_events(self.folder):
            self._writers = {
                part: self._tf.summary.create_file_writer(f"{self.folder}/{part}") for part in ("train", "validation")
            }

    def on_epoch_end(self, epoch, logs=None):
        if self._writers:
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
        if not self._writers:
            return
        image = self._tf.io.decode_png(self._tf.io.read_file(str(path)), channels=3)
        with writes_events(self.folder), self._writers["train"].as_default(step=step):
            self._tf.summary.image(name, image[None])

    def close(self):
        if self._writers:
            with writes_events(self.folder):
                for writer in self._writers.values():
                    writer.close()


def find_tensorflow(folder):
    """The module that writes event files into a folder. None where it is not installed, which is logged."""
    try:
        import tensorflow as tf
    except ImportError:
        logger.info("tensorboard: %s is not written: TensorFlow, which writes it, is not installed", folder)
        return None
    return tf


@contextlib.contextmanager
def writes_events(folder):
    """Raise UserError, with the system's reason, when TensorBoard's files cannot be written: a full disk."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0].split("; ")[-1]  # "{{node}} path; reason", then more of the same
        raise UserError(f"path: {folder} cannot be written: {reason}.") from error
