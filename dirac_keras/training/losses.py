"""The classification loss: integer labels, logits, optional label smoothing."""

import keras
from keras import ops

from dirac_keras.errors import UserError


@keras.saving.register_keras_serializable(package="dirac_keras")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer labels with label smoothing, which Keras has for one-hot labels only.

    Args:
        label_smoothing: float in [0, 1), the share of the target spread evenly over all classes.

    Call: `y_true` `(batch,)` integers, `y_pred` `(batch, classes)` logits.
    Raises: ValueError: if `label_smoothing` is out of range.
    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7.
    """

    def __init__(self, label_smoothing=0.0, name="crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        if not 0 <= label_smoothing < 1:
            raise UserError(f"label_smoothing must be in [0, 1). Received label_smoothing={label_smoothing}.")
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        log_probabilities = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)
        num_classes = y_pred.shape[-1]
        target = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), num_classes)  # (batch, classes)
        target = target * (1.0 - self.label_smoothing) + self.label_smoothing / num_classes
        return -ops.sum(target * log_probabilities, axis=-1)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
