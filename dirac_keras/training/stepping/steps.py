"""Keras' own `fit` on TensorFlow with batches that are cut within the step, and with several steps an execution."""

import contextlib
import math

import keras
from keras import ops

from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted
from dirac_keras.training.chunks.ends import flatten
from dirac_keras.training.stepping.position import build_metrics

WALKED = 10_000  # steps at which callbacks act that are looked at


@contextlib.contextmanager
def batches_made_in_step(model, make):
    """Within, what a model is trained on is `(step, positions)`, and its training step makes the batch of it.

    Args:
        model: compiled `keras.Model`.
        make: function `(step, positions) -> (images, labels)`, see `pipelines.Splits.on_device`.
    """
    # Keras would build them from the first element, whose shapes are no batch's.
    model.optimizer.build(model.trainable_variables)
    model.compute_loss(None, ops.zeros((1,), "int32"), ops.zeros((1, *model.output_shape[1:])))
    build_metrics(model)
    train_step = model.train_step
    model.train_step = lambda order: train_step(make(*order))
    model.make_train_function(force=True)
    try:
        yield
    finally:
        model.train_step = train_step
        model.make_train_function(force=True)


class StepsAnExecution(keras.callbacks.Callback):
    """Has Keras' `fit` train several steps an execution, and evaluate one by one: a test has any number of batches.

    Keras reads the number where it makes its iterator and where it traces the step, so it is 1 between the first
    execution of an epoch and the epoch's end.

    Args:
        steps: int.
        model: `keras.Model` that is to be trained.
    """

    def __init__(self, steps, model):
        super().__init__()
        self.steps = steps
        model.steps_per_execution = steps

    def next_step(self, step):
        """None, see `training.chunks.ends`."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.steps_per_execution = 1

    def on_epoch_end(self, epoch, logs=None):
        self.model.steps_per_execution = self.steps

    def on_train_end(self, logs=None):
        self.model.steps_per_execution = 1


def check_steps_an_execution(steps, callbacks, position, steps_per_epoch, epochs):
    """Raise UserError unless Keras' executions of several steps end wherever a callback acts.

    Keras' executions all have the same length, and it does not cut the last one of an epoch short.

    Args:
        steps: int, `steps_per_execution`.
        callbacks: list of Keras callbacks.
        position: `Position` that the training begins at.
        steps_per_epoch, epochs: int.
    """
    rest = steps_per_epoch - position.batch
    common = math.gcd(steps_per_epoch, rest)
    if common % steps:
        left = f", {rest} of them left of one that was begun" if position.batch else ""
        raise UserError(
            "On TensorFlow `steps_per_execution` must divide the steps of an epoch, and what is left of one that was "
            f"begun. Received steps_per_execution={steps} with epochs of {counted(steps_per_epoch, 'step')}{left}: "
            f"{_nearest_divisors(common, steps)}leave it out."
        )
    begin, last = position.step(steps_per_epoch), epochs * steps_per_epoch
    for callback in flatten(callbacks):
        step = begin
        for _ in range(WALKED):
            wanted = callback.next_step(step) if hasattr(callback, "next_step") else None
            if wanted is None or wanted >= last:
                break
            if (wanted - begin) % steps and wanted % steps_per_epoch:
                other = "give a `steps_per_execution` that divides it, or " if wanted > 1 else ""
                raise UserError(
                    f"On TensorFlow every execution has the same number of steps. Received steps_per_execution={steps} "
                    f"with {type(callback).__name__}, which acts after step {wanted}: {other}leave it out."
                )
            step = max(wanted, step + 1)


def _nearest_divisors(count, steps):
    """The words that offer the divisors of `count` above 1 that are nearest to `steps`; empty if there are none."""
    divisors = [each for each in range(2, count + 1) if count % each == 0]
    below = [each for each in divisors if each < steps][-1:]
    above = [each for each in divisors if each > steps][:1]
    return f"give {' or '.join(map(str, below + above))}, or " if below + above else ""
