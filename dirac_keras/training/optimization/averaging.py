"""The average of the weights over training: what is validated, tested and saved instead of the last weights."""

import itertools

import keras

STATISTICS = ("moving_mean", "moving_variance")  # of a BatchNormalization
# With the layers' momentum of 0.9, what the statistics were before weighs 0.9^64, a thousandth, after so many batches.
REFRESH_BATCHES = 64


class EvaluateAverage(keras.callbacks.Callback):
    """Has every evaluation during `fit` done with the averaged weights; training itself continues with its own.

    The average itself is the optimizer's (`use_ema=True`), which keeps it in its checkpoints and puts it in place of
    the weights when `fit` ends.

    Not `keras.callbacks.SwapEMAWeights`: on TensorFlow that exchanges the two by sums and differences, whose rounding
    would move the training's own weights at every evaluation, and it leaves the BatchNormalization statistics as they
    are, which are those of the last weights.

    Args:
        batches: function `epoch -> iterable of (images, labels)`, training batches for `refresh_statistics`; the epoch
            counts from 0.
    """

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_train_begin(self, logs=None):
        self._forward = training_forward(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_test_begin(self, logs=None):
        self._own = [(variable, keras.ops.convert_to_numpy(variable)) for variable in self.model.variables]
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        _unshare(self.model)
        refresh_statistics(self.model, self.batches(self._epoch), self._forward)

    def on_test_end(self, logs=None):
        for variable, value in self._own:
            variable.assign(value)

    def on_train_end(self, logs=None):
        _unshare(self.model)


def _unshare(model):
    """On JAX a weight that was assigned its average is the same array, which the next compiled step gives away."""
    for variable in model.trainable_variables:
        variable.assign(keras.ops.copy(variable))


def training_forward(model):
    """A function of images that runs the model as in training, for what that leaves in its variables; compiled where
    the backend can.
    """

    def forward(images):
        model(images, training=True)

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(forward)
    if backend == "jax":
        return _compiled_by_jax(model)
    if backend == "torch":
        import torch

        return torch.no_grad()(forward)
    return forward


def _compiled_by_jax(model):
    import jax

    @jax.jit
    def left(trainable, others, images):
        return model.stateless_call(trainable, others, images, training=True)[1]

    def forward(images):
        variables = model.non_trainable_variables
        trainable = [variable.value for variable in model.trainable_variables]
        for variable, value in zip(
            variables, left(trainable, [variable.value for variable in variables], images), strict=True
        ):
            variable.assign(value)

    return forward


def refresh_statistics(model, batches, forward=None):
    """Bring the BatchNormalization statistics to a model's weights, which are not those that they were measured with.

    The statistics of training belong to the last weights; an average of weights has others. They are run in as in
    training, and nothing else of the model moves.

    Args:
        model: `keras.Model`.
        batches: iterable of `(images, labels)`, all of one size.
        forward: what `training_forward` made of the model before; None has it made.
    """
    statistics = [variable for variable in model.non_trainable_variables if variable.name in STATISTICS]
    if not statistics:
        return
    known = {id(variable) for variable in statistics}
    others = [v for v in model.non_trainable_variables if id(v) not in known]  # of a VAN, its multipliers
    kept = [keras.ops.convert_to_numpy(variable) for variable in others]
    forward = forward or training_forward(model)
    for images, _ in batches:
        forward(images)
    for variable, value in zip(others, kept, strict=True):
        variable.assign(value)


def refresh_batches(splits, finished_epochs):
    """The training batches that would come next, for `refresh_statistics`."""
    return itertools.islice(splits.train(start_step=finished_epochs * splits.steps_per_epoch), REFRESH_BATCHES)
