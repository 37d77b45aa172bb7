"""`model.fit` that can begin in the middle of an epoch."""

import contextlib

import keras


def fit_from(model, position, stream, epochs, steps_per_epoch, validation_data, callbacks, validated=None):
    """Train from a `Position` to the end, as one `model.fit` that was never interrupted.

    Keras' `fit` gives every epoch the same number of steps, so an epoch that was begun is finished by a `fit` of its
    own. The callbacks see one training: one begin and one end, and epochs and batches with their numbers in the run.
    `callback.params["first_batch"]` tells them where in its epoch the training begins.

    Args:
        model: compiled `keras.Model`.
        position: `Position`.
        stream: function `(start_step) -> tf.data.Dataset`, endless.
        epochs: int, of the whole run.
        steps_per_epoch: int.
        validation_data: what is evaluated after every epoch, or None.
        callbacks: list of Keras callbacks.
        validated: epochs after which it is, from 1 on; None: all.
    """
    training = _OneTraining(callbacks, position, model=model, epochs=epochs, steps=steps_per_epoch)

    def fit(first_epoch, last_epoch, first_batch=0):
        model.fit(
            stream(first_epoch * steps_per_epoch + first_batch),
            initial_epoch=first_epoch,
            epochs=last_epoch,
            steps_per_epoch=steps_per_epoch - first_batch,
            validation_data=validation_data,
            validation_freq=1 if validated is None else validated,
            shuffle=False,  # the stream is shuffled
            verbose=0,
            callbacks=training,
        )

    first_epoch = position.epoch
    if position.batch:
        with contextlib.suppress(_EpochIsFinished):
            if position.batch < steps_per_epoch:
                fit(first_epoch, first_epoch + 1, position.batch)
            else:
                is_due = validated is None or first_epoch + 1 in validated
                _validate(model, training, first_epoch, validation_data if is_due else None)
            return  # a callback has set `stop_training`
        training.restore_weights()
        first_epoch += 1
    fit(first_epoch, epochs)


def _validate(model, training, epoch, validation_data):
    """The end of an epoch whose steps are all done."""
    model.make_train_function()  # before the callbacks, as `fit` does
    training.on_train_begin()
    training.on_epoch_begin(epoch)
    logs = dict(model.get_metrics_result())
    if validation_data is not None:
        measured = model.evaluate(validation_data, verbose=0, return_dict=True, callbacks=training)
        logs |= {f"val_{name}": value for name, value in measured.items()}
    model.stop_training = False
    training.on_epoch_end(epoch, logs)
    training.on_train_end(logs)


class _EpochIsFinished(Exception):
    """Leaves the first `fit` before it would treat the training as ended (averaged weights, `on_train_end`)."""


class _OneTraining(keras.callbacks.CallbackList):
    """Callbacks of one or two `fit`s that see one.

    Args:
        callbacks: list.
        position: `Position` that the first `fit` begins at.
        params: `epochs` and `steps` of the whole training, and `model`.
    """

    def __init__(self, callbacks, position, **params):
        self._position = position
        self._first_batch = 0  # of the epoch that runs
        self._has_begun = False
        self._weights = []
        super().__init__(callbacks, add_history=True, verbose=0, first_batch=position.batch, **params)

    def on_train_begin(self, logs=None):
        if not self._has_begun:
            self._has_begun = True
            super().on_train_begin(logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._first_batch = self._position.batch if epoch == self._position.epoch else 0
        super().on_epoch_begin(epoch, logs)
        if self._first_batch:  # after `fit` has reset the metrics
            within = [getattr(callback, "callbacks", [callback]) for callback in self.callbacks]  # see `Alone`
            self._position.restore(self.model, [callback for some in within for callback in some])

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(self._first_batch + batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(self._first_batch + batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if self._first_batch and not self.model.stop_training:
            optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)  # behind loss scaling
            if optimizer.use_ema:
                variables = self.model.trainable_variables
                self._weights = [(variable, keras.ops.convert_to_numpy(variable)) for variable in variables]
            raise _EpochIsFinished

    def restore_weights(self):
        """Undo what leaving `fit` does on JAX, by an exception too: the averaged weights take the weights' place."""
        for variable, value in self._weights:
            variable.assign(value)
