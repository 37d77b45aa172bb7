"""Training of a network to give a teacher's answers, or the labels alone."""

import keras
import numpy as np
from keras import ops

from dirac_keras.deployment.heads import LOGITS, find_head
from dirac_keras.errors import RunError, UserError


class Batches:
    """Batches of `(inputs, labels)`, over and over, with what the teacher answers beside the labels.

    Args:
        data: pairs `(inputs, labels)` in batches, re-iterable; labels are class numbers.
        answer: function, inputs -> log-probabilities `(batch, classes)`; None without a teacher.
    """

    def __init__(self, data, answer=None):
        self.data, self.answer = data, answer
        try:
            self.steps = len(data)
        except TypeError:
            self.steps = sum(1 for _ in data)
        if not self.steps:
            raise UserError("train must hold batches. Received train without any.")

    def forever(self):
        """Generator of `(inputs, numbers)`: the label in the first column, log-probabilities of the teacher behind."""
        while True:
            for inputs, labels in self.data:
                labels = np.asarray(labels).reshape(-1, 1).astype("float32")
                answers = [] if self.answer is None else [self.answer(inputs)]
                yield inputs, np.concatenate([labels, *answers], axis=-1)


def teach(student, teacher, train, epochs, learning_rate, weight, temperature, callbacks=()):
    """Trains a classifier in place.

    Args:
        student: `keras.Model`.
        teacher: `keras.Model` of the same classes; None: labels alone.
        train: see `Batches`.
        epochs: int.
        learning_rate: number, of SGD with momentum 0.9; it falls to zero by a cosine.
        weight: number in [0, 1], of the teacher's part in the loss.
        temperature: number above 0, that divides logits of both in the teacher's part.
        callbacks: of Keras.

    Returns: float, the loss of the last epoch.
    Raises: RunError: if the loss is not finite.
    Source: Hinton, Vinyals & Dean 2015, arXiv:1503.02531, section 2.
    """
    head = find_head(student)
    if head.units < 2:
        raise UserError(f"model must give a number for each class. Received a model with {head.units} output.")
    is_logits = head.gives == LOGITS
    answer = None
    if teacher is not None:

        def answer(inputs):
            outputs = ops.convert_to_numpy(teacher.predict_on_batch(inputs))
            return ops.convert_to_numpy(_log_probabilities(ops.convert_to_tensor(outputs), is_logits))

    batches = Batches(train, answer)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * batches.steps)
    # Not Adam, whose steps have one size: the multipliers of a skip pull by the size of their gradient.
    student.compile(keras.optimizers.SGD(schedule, 0.9, nesterov=True), _loss(is_logits, weight, temperature))
    history = student.fit(
        batches.forever(),
        steps_per_epoch=batches.steps,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )
    loss = float(history.history["loss"][-1])
    if not np.isfinite(loss):
        raise RunError(f"the loss is {loss}: the training diverged. Take a lower `learning_rate`.")
    return loss


def _loss(is_logits, weight, temperature):
    def loss(told, outputs):
        outputs = ops.cast(outputs, "float32")
        given = _log_probabilities(outputs, is_logits)
        labels = ops.cast(told[:, 0], "int32")
        cost = -ops.take_along_axis(given, labels[:, None], axis=-1)[:, 0]
        if told.shape[-1] == 1:
            return cost
        wanted = ops.softmax(told[:, 1:] / temperature)
        softened = ops.log_softmax(given / temperature)
        distance = ops.sum(wanted * (ops.log_softmax(told[:, 1:] / temperature) - softened), axis=-1)
        return (1.0 - weight) * cost + weight * temperature**2 * distance

    return loss


def _log_probabilities(outputs, is_logits):
    if is_logits:
        return ops.log_softmax(outputs)
    return ops.log(ops.maximum(outputs, 1e-12))
