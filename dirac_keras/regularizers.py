"""Terms of the training loss that belong to a weight."""

import keras
from keras import ops


class Lagrangian(keras.regularizers.Regularizer):
    """The term `multiplier^T (alpha - 1)` of the constraint `alpha = 1`, by its gradient alone.

    Its value is 0 always, so the loss that training and `evaluate` report is the cost; its gradient with respect to
    alpha is the multiplier, so the step is that of eq. 7.

    Args:
        multiplier: non-trainable variable, lambda, of the shape of alpha.
        ramp: non-trainable scalar variable; while it is 0 the phase-out has not begun and there is no term.

    Source: Monti, Tootoonian & Cao, "Avoiding degradation in deep feed-forward networks by phasing out
        skip-connections", eq. 6 and 7.
    """

    def __init__(self, multiplier, ramp):
        self.multiplier = multiplier
        self.ramp = ramp

    def __call__(self, alpha):
        alpha = ops.convert_to_tensor(alpha)
        has_begun = ops.cast(ops.convert_to_tensor(self.ramp) > 0, alpha.dtype)
        multiplier = ops.stop_gradient(ops.convert_to_tensor(self.multiplier)) * has_begun
        term = ops.sum(multiplier * (alpha - ops.stop_gradient(alpha)))
        return ops.cast(term, keras.backend.floatx())  # as Keras' sum of losses wants it
