"""Scalars and pictures for TensorBoard."""

import logging
import pathlib

import keras

from dirac_keras.callbacks.scales import mean_scales
from dirac_keras.files.event_files import EventWriter

logger = logging.getLogger("dirac_keras")


class TensorBoardScalars(keras.callbacks.Callback):
    """Loss, accuracy, learning rate, speed, and the scales of every Dirac layer, an epoch each.

    The package `tensorboard` writes the files, on every backend. Where it is not installed, the log says so once and
    nothing is written.

    Args:
        folder: of the event files.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)
        self._writers = {}

    def on_train_begin(self, logs=None):
        if has_tensorboard(self.folder):
            self._writers = {part: EventWriter(f"{self.folder}/{part}") for part in ("train", "validation")}

    def on_epoch_end(self, epoch, logs=None):
        if not self._writers:
            return
        for name, value in logs.items():
            part = "validation" if name.startswith("val_") else "train"
            self._writers[part].scalar(name.removeprefix("val_"), value, epoch + 1)
        for layer, means in mean_scales(self.model).items():
            for name, value in means.items():
                self._writers["train"].scalar(f"{name}/{layer}", value, epoch + 1)
        for writer in self._writers.values():
            writer.flush()

    def write_picture(self, name, path, step):
        """Show a PNG file under the pictures."""
        if self._writers:
            self._writers["train"].picture(name, pathlib.Path(path).read_bytes(), step)

    def close(self):
        for writer in self._writers.values():
            writer.close()


def has_tensorboard(folder):
    """Whether the package that writes event files into a folder is installed; where it is not, that is logged."""
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        logger.info(
            "tensorboard: %s is not written: the package tensorboard, which writes it, is not installed", folder
        )
        return False
    return True
