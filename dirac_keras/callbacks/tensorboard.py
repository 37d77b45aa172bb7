"""Scalars and pictures for TensorBoard."""

import contextlib

import keras

from dirac_keras.callbacks.scales import mean_scales
from dirac_keras.errors import UserError


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
        raise UserError(f"path: {folder} cannot be written: {reason}.") from error
