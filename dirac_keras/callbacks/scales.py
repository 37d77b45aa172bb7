"""The scales a and b of Dirac layers while they train."""

import keras
import numpy as np

from dirac_keras.files.tables import read_table, write_table


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
