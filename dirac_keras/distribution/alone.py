"""Callbacks of the one worker that writes."""

import keras

HOOKS = (
    "on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end",
    "on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end",
)  # fmt: skip


class Alone(keras.callbacks.Callback):
    """Calls other callbacks outside of the scope that several workers train in, see `Placement.aside`.

    Args:
        callbacks: list of Keras callbacks that this worker has and others do not.
        place: `Placement`.
    """

    def __init__(self, callbacks, place):
        super().__init__()
        self.callbacks = callbacks
        self.place = place

    def set_params(self, params):
        super().set_params(params)
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model):
        super().set_model(model)
        for callback in self.callbacks:
            callback.set_model(model)


def _calling(hook):
    def call(self, *arguments, **options):
        with self.place.aside():
            for callback in self.callbacks:
                getattr(callback, hook)(*arguments, **options)

    return call


for _hook in HOOKS:
    setattr(Alone, _hook, _calling(_hook))
