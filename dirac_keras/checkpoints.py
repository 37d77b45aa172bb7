"""Checkpoints: the model with its optimizer, written whole, the last few kept."""

import logging
import re

import keras

from dirac_keras.artifact import load_model, save_model

logger = logging.getLogger("dirac_keras")


def checkpoint_path(folder, epoch):
    """Where the state after `epoch` finished epochs is kept."""
    return folder / f"epoch-{epoch:04d}.keras"


def find_checkpoints(folder):
    """`[(finished epochs, path), ...]`, newest first."""
    found = []
    for path in folder.glob("epoch-*.keras") if folder.exists() else ():
        match = re.fullmatch(r"epoch-(\d+)\.keras", path.name)
        if match:
            found.append((int(match.group(1)), path))
    return sorted(found, reverse=True)


def load_latest(folder):
    """The newest checkpoint that loads: `(finished epochs, compiled model)`, or `(0, None)`.

    A damaged one is named in the log, and the one before it is used.
    """
    for epoch, path in find_checkpoints(folder):
        try:
            return epoch, load_model(path)[0]
        except ValueError as error:
            logger.warning("checkpoint %s is not used: %s", path, error)
    return 0, None


class Checkpoint(keras.callbacks.Callback):
    """Saves after every epoch.

    Args:
        folder: `pathlib.Path`.
        keep: int, how many to keep.
    """

    def __init__(self, folder, keep=2):
        super().__init__()
        self.folder = folder
        self.keep = keep

    def on_epoch_end(self, epoch, logs=None):
        self.folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, checkpoint_path(self.folder, epoch + 1), overwrite=True)
        for _, path in find_checkpoints(self.folder)[self.keep :]:
            path.unlink()
