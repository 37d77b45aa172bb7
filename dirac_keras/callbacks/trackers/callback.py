"""The callback that hands the figures of each epoch to the trackers."""

import keras


class TrackerReport(keras.callbacks.Callback):
    """Loss, accuracy, learning rate and speed of each epoch for every tracker.

    Args:
        tracking: `Tracking` that has been started.
    """

    def __init__(self, tracking):
        super().__init__()
        self.tracking = tracking

    def on_epoch_end(self, epoch, logs=None):
        self.tracking.log(epoch + 1, logs or {})
