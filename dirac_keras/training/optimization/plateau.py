"""A learning rate that falls where the validation stands still: as `keras.callbacks.ReduceLROnPlateau`, from the rows.

What Keras' callback counts is lost with the process. Here the rate is a function of the run's table, `metrics.csv`,
whose rows a checkpoint vouches for, as early stopping is; so a resumed run has the rates of the uninterrupted one.
"""

import logging

import keras

from dirac_keras.distribution import Placement
from dirac_keras.files.amounts import counted

logger = logging.getLogger("dirac_keras")


def is_plateau(config):
    """Whether the rate of a training is that of `schedule="plateau"`."""
    return config.schedule == "plateau"


def falls(rows, judge, patience):
    """How often the rate has fallen after the epochs of some rows.

    Args:
        rows: list of dicts, of epochs in order.
        judge: `best.Judge`, of which figure is better.
        patience: int, epochs without a better figure after which it falls; the counting then begins anew.
    """
    best, count, waited = [], 0, 0
    for row in rows:
        if judge.is_better(row[judge.name], best):
            best, waited = [row], 0
        else:
            waited += 1
        if waited == patience:
            count, waited = count + 1, 0
    return count


class FallOnPlateau(keras.callbacks.Callback):
    """Sets the learning rate where a training and its epochs begin.

    List it before what writes the rows. On several workers all have it; the first alone has rows.

    Args:
        judge: `best.Judge`.
        rows: list of the run's rows so far, which grows with each epoch; None on other workers.
        peak: float, the rate of the first epoch.
        factor: float below 1, on the rate each time.
        patience: int, epochs.
        place: `Placement`.
    """

    def __init__(self, judge, rows, peak, factor, patience, place=None):
        super().__init__()
        self.judge, self.rows, self.place = judge, rows, place or Placement("one")
        self.peak, self.factor, self.patience = peak, factor, patience

    def next_step(self, step):
        """None: it acts where epochs end, see `training.chunks.ends`."""

    def on_train_begin(self, logs=None):
        self._set(lambda: falls(self.rows, self.judge, self.patience))

    def on_epoch_end(self, epoch, logs=None):
        before = self._count

        def count():  # this epoch's row is written later
            row = {"epoch": epoch + 1, self.judge.name: float(logs[self.judge.name])}
            return falls([*self.rows, row], self.judge, self.patience)

        self._set(count)
        if self._count > before and self.place.is_chief and epoch + 1 < self.params["epochs"]:
            rate = self.peak * self.factor**self._count
            logger.info(
                "the learning rate falls to %.4g: no better %s in %s",
                rate,
                self.judge.name,
                counted(self.patience, "epoch"),
            )

    def _set(self, count):
        self._count = int(self.place.chief_decides(count))
        self.model.optimizer.learning_rate = self.peak * self.factor**self._count
