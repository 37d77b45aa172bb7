"""Training of a network to give a teacher's answers, or the labels alone."""

import contextlib
import itertools

import keras
import numpy as np
from keras import ops

from dirac_keras.conversion.batches import class_numbers
from dirac_keras.conversion.settings import with_rate
from dirac_keras.deployment.heads import LOGITS, find_head
from dirac_keras.errors import RunError, UserError
from dirac_keras.folding.inventory import layers_inside
from dirac_keras.graph.functional import input_structure
from dirac_keras.graph.layer_outputs import one_output
from dirac_keras.graph.softmax import kind_of_outputs
from dirac_keras.training.optimization.averaging import REFRESH_BATCHES, refresh_statistics

_MOMENTUM = 0.9  # of statistics that are settled: in `REFRESH_BATCHES` steps they forget all before


class Lessons:
    """Batches over and over, with what the teacher answers beside the labels.

    Args:
        batches: `Batches` of class numbers.
        teacher: `keras.Model` with its outputs, or with those and features behind them; None without one.
        is_logits: bool, of the teacher's outputs.
        classes: int, of the student.

    Attributes:
        share: float, how many samples of the first epoch the teacher named rightly; None before, or without one.
    """

    def __init__(self, batches, teacher, is_logits, classes):
        self.batches, self.teacher, self.is_logits, self.classes = batches, teacher, is_logits, classes
        self.right = self.seen = 0

    @property
    def share(self):
        return self.right / self.seen if self.seen else None

    def forever(self):
        """Generator of `(inputs, targets)`: the label in the first column of the first target, log-probabilities of the
        teacher behind it; its features are further targets.
        """
        for place, (inputs, labels) in enumerate(self.batches.forever()):
            samples = np.shape(keras.tree.flatten(inputs)[0])[:1]
            labels = self.batches.class_labels(labels, samples, self.classes).reshape(-1, 1)
            told = [labels.astype("float32")]
            features = []
            if self.teacher is not None:
                outputs, *features = keras.tree.flatten(self.teacher.predict_on_batch(inputs))
                outputs = ops.convert_to_tensor(outputs)
                if place < self.batches.steps:
                    self.right += int(np.sum(class_numbers(outputs) == labels[:, 0]))
                    self.seen += len(labels)
                told.append(ops.convert_to_numpy(_log_probabilities(outputs, self.is_logits)))
            told = np.concatenate(told, axis=-1)
            yield inputs, ((told, *map(np.asarray, features)) if features else told)


def teach(student, teacher, batches, teaching, callbacks=()):
    """Trains a classifier in place, and brings the statistics of its BatchNormalization to its last weights.

    Layers that are frozen are trained too, and frozen again behind it: what they were frozen for is another network.

    Args:
        student: `keras.Model`.
        teacher: `keras.Model` of the same classes; None: labels alone.
        batches: `Batches`.
        teaching: `Teaching`.
        callbacks: of Keras.

    Returns: `(loss of the last epoch, share of the samples that the teacher names rightly or None)`.
    Raises: RunError: if the loss is not finite. UserError: if `teaching.features` are no layers of both, or the
        teacher has other classes or outputs that are not known.
    Source: Hinton, Vinyals & Dean 2015, arXiv:1503.02531, section 2; of features, Romero et al. 2015 (FitNets),
        arXiv:1412.6550, section 2.2, without their regressor, as the widths are equal.
    """
    head = find_head(student, teaching.outputs)
    if head.units < 2:
        raise UserError(f"model must give a number for each class. Received a model with {head.units} output.")
    guide = head if teacher is None else _head_of_teacher(teacher, student, teaching.outputs)
    if guide.units != head.units:
        raise UserError(
            f"teacher must give as many classes as the model, {head.units}. Received one that gives {guide.units}."
        )
    is_logits = head.gives == LOGITS
    names = teaching.features if teacher is not None else ()
    pupil = _with_features(student, names)
    told_by = None if teacher is None else _with_features(teacher, names)
    lessons = Lessons(batches, told_by, guide.gives == LOGITS, head.units)
    schedule = rate_schedule(with_rate(teaching), batches.steps)
    # Not Adam, whose steps have one size: the multipliers of a skip pull by the size of their gradient.
    losses = [answer_loss(is_logits, teaching.weight, teaching.temperature), *[feature_loss] * len(names)]
    weights = [1.0, *[teaching.feature_weight / len(names)] * len(names)] if names else None
    with thawed(student):
        pupil.compile(
            keras.optimizers.SGD(schedule, 0.9, nesterov=True),
            losses if names else losses[0],
            loss_weights=weights,
            jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",  # XLA is slower here on a CPU
        )
        history = pupil.fit(
            lessons.forever(),
            steps_per_epoch=batches.steps,
            epochs=teaching.epochs,
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
        )
        loss = float(history.history["loss"][-1])
        if not np.isfinite(loss):
            raise RunError(f"the loss is {loss}: the training diverged. Take a lower `learning_rate`.")
        settle_statistics(student, batches)
    return loss, lessons.share


def rate_schedule(teaching, steps_per_epoch):
    """The rate of each step: a line from 0 up to `learning_rate`, then a cosine down to 0."""
    steps = teaching.epochs * steps_per_epoch
    rise = int(teaching.warmup_fraction * steps)
    if not rise:
        return keras.optimizers.schedules.CosineDecay(teaching.learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - rise, warmup_target=teaching.learning_rate, warmup_steps=rise
    )


def _head_of_teacher(teacher, student, outputs):
    """What was said of the student's outputs counts for a teacher that ends like it."""
    is_alike = kind_of_outputs(teacher) == kind_of_outputs(student)
    try:
        return find_head(teacher, outputs if is_alike else None)
    except UserError as error:
        raise UserError(f"teacher: {error}") from error


@contextlib.contextmanager
def thawed(model):
    """Within, all layers of a model are trainable."""
    frozen = [layer for _, layer in layers_inside(model) if not layer.trainable]
    is_frozen = not model.trainable
    model.trainable = True
    for layer in frozen:
        layer.trainable = True
    try:
        yield
    finally:
        model.trainable = not is_frozen
        for layer in frozen:
            layer.trainable = False


def settle_statistics(model, batches):
    """The statistics of BatchNormalization of a model's weights as they are.

    In a short training they lag behind the weights, or still hold where they started: a layer of momentum 0.99, Keras'
    own, keeps two thirds of that after forty steps, and the network that trained well gives anything at inference.

    Args:
        model: `keras.Model`; nothing else of it moves.
        batches: `Batches`.
    """
    found = [layer for _, layer in layers_inside(model) if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in found]
    for layer in found:
        layer.momentum = min(layer.momentum, _MOMENTUM)
    try:
        refresh_statistics(model, itertools.islice(batches.forever(), REFRESH_BATCHES))
    finally:
        for layer, momentum in zip(found, momenta, strict=True):
            layer.momentum = momentum


def _with_features(model, names):
    """The model with the outputs of some of its layers behind its own."""
    if not names:
        return model
    known = {layer.name for layer in model.layers}
    if unknown := [name for name in names if name not in known]:
        raise UserError(
            f"features must be layers of the model. Received {unknown[0]!r}, which '{model.name}' has not; the last "
            f"ones that it has: {', '.join(list(dict.fromkeys(layer.name for layer in model.layers))[-6:])}."
        )
    found = {name: one_output(model, name) for name in names}
    if wrong := [name for name in names if isinstance(found[name], str)]:
        raise UserError(
            f"features must be layers of one output each. Received {wrong[0]!r}, which {found[wrong[0]]} in "
            f"'{model.name}'."
        )
    return keras.Model(input_structure(model), [*model.outputs, *(found[name] for name in names)])


def feature_loss(wanted, given):
    """Squared distance of features to the teacher's, relative to the square of those: 1 where all are zero."""
    axes = tuple(range(1, len(given.shape)))
    wanted, given = ops.cast(wanted, "float32"), ops.cast(given, "float32")
    size = ops.mean(ops.square(wanted), axis=axes)
    return ops.mean(ops.square(given - wanted), axis=axes) / ops.maximum(size, 1e-6)


def answer_loss(is_logits, weight, temperature):
    """`(1 - weight) * labels + weight * temperature**2 * KL`: cross-entropy, and distance to the softened answers."""

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
