"""The table of a run's metrics."""

import keras

from dirac_keras.files.tables import read_table, write_table


class MetricsTable(keras.callbacks.Callback):
    """`metrics.csv`, a row an epoch, written whole after each; a resumed run keeps its rows.

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
