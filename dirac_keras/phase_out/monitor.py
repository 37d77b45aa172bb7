"""What is left of the skips while a network trains: in the logs by epoch, in a table and a picture by step."""

import keras
import numpy as np
from keras import ops

from dirac_keras.callbacks import plots
from dirac_keras.files.tables import read_table, write_table
from dirac_keras.phase_out.residual import mean_residual, measure_skips, require_skips


class SkipMonitor(keras.callbacks.Callback):
    """Adds to the logs of every epoch what is left of the skips, and so to `metrics.csv` and TensorBoard.

    | name | what it is |
    |---|---|
    | `skip_residual` | mean over layers of `mean((1 - alpha)^2)` |
    | `lagrangian` | sum over layers of `lambda^T (alpha - 1)`, which the loss does not contain |
    | `alpha/LAYER`, `multiplier/LAYER` | mean over the units of a layer |

    List the callbacks that write logs behind it.

    Args:
        by_layer: bool, whether the logs have alpha and lambda of every layer.

    Raises: ValueError: from `fit` if the model has no `VariableSkip`.
    """

    def __init__(self, by_layer=True):
        super().__init__()
        self.by_layer = by_layer

    def on_train_begin(self, logs=None):
        require_skips(self.model)

    def on_epoch_end(self, epoch, logs=None):
        if logs is None:
            return
        states = measure_skips(self.model)
        logs["skip_residual"] = mean_residual(states)
        logs["lagrangian"] = sum(state.lagrangian for state in states.values())
        if self.by_layer:
            for path, state in states.items():
                logs[f"alpha/{path}"] = state.alpha
                logs[f"multiplier/{path}"] = state.multiplier


class SkipTrace(keras.callbacks.Callback):
    """Writes what is left of the skips by step, as a table and a picture of it.

    Every step up to the twentieth, then one in every twentieth part of the steps so far: the skips may be gone in a
    hundred steps or in ten thousand. The table, with `step`, `residual` and `alpha` (means over the layers), is
    written after every epoch; in a resumed run it continues at the optimizer's step.

    Args:
        path: `pathlib.Path` of the CSV table.
        picture: of the PNG, drawn at the end.
    """

    def __init__(self, path, picture):
        super().__init__()
        self.path = path
        self.picture = picture
        self.rows = []

    def on_train_begin(self, logs=None):
        self._step = int(ops.convert_to_numpy(self.model.optimizer.iterations))
        self._first_batch = (self.params or {}).get("first_batch", 0)  # of a training that begins within an epoch
        self.rows = [row for row in read_table(self.path) if row["step"] <= self._step]
        if not self._step:
            self._measure()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start = self._step - self._first_batch
        self._first_batch = 0

    def next_step(self, step):
        """The step of the next row."""
        return max(step + 1, self._next_row())

    def on_train_batch_end(self, batch, logs=None):
        self._step = self._epoch_start + batch + 1
        if self._step >= self._next_row():
            self._measure()

    def _next_row(self):
        last = self.rows[-1]["step"] if self.rows else -1
        return last + max(1, last // 20)

    def epoch_state(self):
        """The rows of an epoch that is not finished, with that of its start: the run's first is in no file yet."""
        return {"rows": [row for row in self.rows if row["step"] >= self._epoch_start]}

    def restore_epoch_state(self, state):
        """Resume an interrupted epoch."""
        known = {row["step"] for row in self.rows}
        self.rows += [row for row in state["rows"] if row["step"] not in known]

    def on_epoch_end(self, epoch, logs=None):
        write_table(self.path, self.rows)

    def on_train_end(self, logs=None):
        plots.plot_skips(self.rows, self.picture)

    def _measure(self):
        states = measure_skips(self.model)
        alpha = float(np.mean([state.alpha for state in states.values()]))
        self.rows.append({"step": self._step, "residual": mean_residual(states), "alpha": alpha})
