"""Learning rate, seconds and images a second of every epoch."""

import time

import keras


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

    def next_step(self, step):
        """None: where a chunk of steps ends is early enough, see `training.chunks.ends`."""

    def on_train_batch_end(self, batch, logs=None):
        self._steps = batch + 1
        self._last = time.perf_counter()

    def epoch_state(self):
        """What a resumed epoch starts from."""
        return {"learning_rate": self._learning_rate, "seconds": self._seconds(), "steps": self._steps}

    def restore_epoch_state(self, state):
        """Resume an interrupted epoch."""
        self._learning_rate, self._seconds_before = state["learning_rate"], state["seconds"]
        self._steps = state["steps"]

    def _seconds(self):
        return self._seconds_before + self._last - self._start

    def on_epoch_end(self, epoch, logs=None):
        seconds = self._seconds()
        logs["learning_rate"] = self._learning_rate
        logs["seconds"] = seconds
        logs["images_per_second"] = self._steps * self.images_per_step / max(seconds, 1e-9)
