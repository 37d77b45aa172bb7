"""The losses of a classifier on logits: cross-entropy and focal loss, with label smoothing and weights of classes.

Labels are integers `(batch,)`, or shares of the classes `(batch, classes)`, as images that are mixed have.
"""

import keras
from keras import ops

from dirac_keras.errors import UserError

LOSSES = ("crossentropy", "focal")
TOP5_FROM_CLASSES = 21  # with fewer, five guesses say little
FOCAL_GAMMA = 2.0  # of Lin et al. 2017, section 3.2
_LEAST_MISSED = 1e-7  # of 1 - p: a power of it below 1 has no gradient at 0


@keras.saving.register_keras_serializable(package="dirac_keras")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy with label smoothing, which Keras has for one-hot labels only, and weights of the classes.

    An image's loss is multiplied by the weight of its class; the mean over a batch is that over its images, as with
    `class_weight` of Keras' `fit`.

    Args:
        label_smoothing: float in [0, 1), the share of the target spread evenly over all classes.
        class_weights: sequence of numbers of 0 or more, one for each class; None: all are 1.

    Call: `y_true` `(batch,)` integers, or `(batch, classes)` shares that sum to 1; `y_pred` `(batch, classes)` logits.
    Raises: ValueError: if `label_smoothing` is out of range, or a weight is below 0.
    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7.
    """

    def __init__(self, label_smoothing=0.0, class_weights=None, name="crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        if not 0 <= label_smoothing < 1:
            raise UserError(f"label_smoothing must be in [0, 1). Received label_smoothing={label_smoothing}.")
        if class_weights is not None and not all(weight >= 0 for weight in class_weights):
            raise UserError(f"class_weights must be 0 or more. Received class_weights={list(class_weights)}.")
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]

    def call(self, y_true, y_pred):
        log_probabilities = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)
        num_classes = y_pred.shape[-1]
        shares = shares_of(y_true, num_classes)  # (batch, classes)
        target = shares * (1.0 - self.label_smoothing) + self.label_smoothing / num_classes
        loss = -ops.sum(target * self.terms(log_probabilities), axis=-1)
        if self.class_weights is None:
            return loss
        return loss * ops.sum(shares * ops.convert_to_tensor(self.class_weights, "float32"), axis=-1)

    def terms(self, log_probabilities):
        """What each class adds to the negative loss, by its share of the target: `(batch, classes)`."""
        return log_probabilities

    def get_config(self):
        own = {"label_smoothing": self.label_smoothing}
        if self.class_weights is not None:
            own["class_weights"] = self.class_weights
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="dirac_keras")
class FocalCrossentropy(SmoothedCrossentropy):
    """Focal loss `-(1 - p)^gamma log p`: what is classified well already counts less.

    `keras.losses.CategoricalFocalCrossentropy` with `alpha=1`, of integer labels too, from logits without clipping
    their probabilities. For its `alpha` of each class there is `class_weights`.

    Args:
        gamma: float of 0 or more; 0 is cross-entropy.
        label_smoothing, class_weights: see `SmoothedCrossentropy`.

    Source: Lin et al. 2017, arXiv:1708.02002, eq. 4; of several classes, the sum over them as Keras has it.
    """

    def __init__(self, gamma=FOCAL_GAMMA, label_smoothing=0.0, class_weights=None, name="focal", **kwargs):
        super().__init__(label_smoothing, class_weights, name=name, **kwargs)
        if gamma < 0:
            raise UserError(f"gamma must be 0 or more. Received gamma={gamma}.")
        self.gamma = gamma

    def terms(self, log_probabilities):
        missed = ops.maximum(-ops.expm1(log_probabilities), _LEAST_MISSED)
        return missed**self.gamma * log_probabilities

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="dirac_keras")
class ClassAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Share of images whose class is found; of mixed images, the class that has most of them."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(_labels_of(y_true, y_pred), y_pred, sample_weight)


@keras.saving.register_keras_serializable(package="dirac_keras")
class TopKAccuracy(keras.metrics.SparseTopKCategoricalAccuracy):
    """Share of images whose class is among the `k` most likely ones; of mixed images as `ClassAccuracy`."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(_labels_of(y_true, y_pred), y_pred, sample_weight)


def are_shares(y_true, num_classes):
    """Whether labels are shares of the classes, `(batch, classes)`, rather than integers."""
    return len(y_true.shape) == 2 and y_true.shape[-1] == num_classes


def shares_of(y_true, num_classes):
    """Labels of either kind as shares of the classes, `(batch, classes)` float32."""
    if are_shares(y_true, num_classes):
        return ops.cast(y_true, "float32")
    return ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), num_classes)


def _labels_of(y_true, y_pred):
    return ops.argmax(y_true, axis=-1) if are_shares(y_true, y_pred.shape[-1]) else y_true


def build_loss(config, class_weights=None):
    """The loss of a `TrainConfig` on data with one class for each image.

    Args:
        config: `TrainConfig`.
        class_weights: see `class_weights.weights_of`.
    """
    if config.loss == "focal":
        return FocalCrossentropy(config.focal_gamma, config.label_smoothing, class_weights)
    return SmoothedCrossentropy(config.label_smoothing, class_weights)


def build_metrics(num_classes):
    """The metrics that a network of so many classes is trained and tested with."""
    top1 = ClassAccuracy(name="accuracy")
    return [top1] if num_classes < TOP5_FROM_CLASSES else [top1, TopKAccuracy(5, name="top5")]
