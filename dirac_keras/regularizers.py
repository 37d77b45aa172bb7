"""Terms of the training loss that belong to a weight."""

import math

import keras
from keras import ops

from dirac_keras.errors import UserError


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


class IdentityLagrangian(keras.regularizers.Regularizer):
    """The term `multiplier^T a` of the constraint `a = 0` of Dirac filters, by its gradient alone.

    As `Lagrangian`, with `1 - alpha = a` and the paper's lambda negated, so that it is 0 or more. The multiplier is a
    trainable weight whose gradient is 0 here; what moves it is `IdentityPhaseOut`.

    Args:
        multiplier: variable, lambda, of the shape of a.
        own: the regularizer of a that stays beside it, or None.

    Source: Monti, Tootoonian & Cao, "Avoiding degradation in deep feed-forward networks by phasing out
        skip-connections", eq. 6 and 7.
    """

    def __init__(self, multiplier, own=None):
        self.multiplier = multiplier
        self.own = own

    def __call__(self, scale):
        scale, multiplier = ops.convert_to_tensor(scale), ops.convert_to_tensor(self.multiplier)
        term = ops.sum(ops.stop_gradient(multiplier) * (scale - ops.stop_gradient(scale)))
        term = term + ops.sum(0.0 * multiplier)  # a gradient of 0, where none would be warned of
        term = ops.cast(term, keras.backend.floatx())  # as Keras' sum of losses wants it
        return term if self.own is None else term + self.own(scale)


@keras.saving.register_keras_serializable(package="dirac_keras")
class LogKurtosis(keras.regularizers.Regularizer):
    """The term `weight * mean over filters of log(kurtosis)`: few large weights beside many small ones cost.

    The kurtosis of a filter, `E[(w - E w)^4] / E[(w - E w)^2]^2` over its weights, is 1 for two values of either sign,
    1.8 for evenly spread weights, 3 for a normal distribution, and about the number of weights where one stands alone.
    It does not change with a filter's scale. A filter whose weights are all alike adds nothing.

    Args:
        weight: number of 0 or more.

    Raises: ValueError: if `weight` is no finite number of 0 or more.
    Source: Shkolnik et al. 2020, "Robust Quantization: One Model to Rule Them All", arXiv:2002.07686, section 4, who
        penalize the squared distance of the kurtosis to 1.8. A filter with an identity has one of hundreds, the square
        of which would be all that is trained; hence the logarithm.
    """

    def __init__(self, weight):
        _check_weight(weight)
        self.weight = weight

    def __call__(self, kernel):
        kernel = ops.convert_to_tensor(kernel)
        axes = tuple(range(len(kernel.shape) - 1))
        squares = ops.square(kernel - ops.mean(kernel, axis=axes, keepdims=True))
        variance = ops.mean(squares, axis=axes)  # (filters,)
        is_flat = variance < 1e-30
        # The inner `where` keeps infinity out of the gradient of the branch that is not taken.
        scaled = squares / ops.where(is_flat, 1.0, variance)
        kurtosis = ops.where(is_flat, 1.0, ops.mean(ops.square(scaled), axis=axes))
        return ops.cast(self.weight * ops.mean(ops.log(kurtosis)), keras.backend.floatx())

    def get_config(self):
        return {"weight": self.weight}


@keras.saving.register_keras_serializable(package="dirac_keras")
class LogPeak(keras.regularizers.Regularizer):
    """The term `weight * mean over filters of log(max w^2 / mean w^2)`: a largest weight far above the others costs.

    The ratio is 1 where all weights are as large, and the number of weights where one stands alone. It does not change
    with a filter's scale. A filter of zeros adds nothing.

    Args:
        weight: number of 0 or more.

    Raises: ValueError: if `weight` is no finite number of 0 or more.
    Source: ours; the square of what `dirac-keras diagnose --quantization` prints as max/rms. The step of a filter's
        integers is its largest weight / 127, and rounding to nearest makes an error of that squared / 12 in each.
    """

    def __init__(self, weight):
        _check_weight(weight)
        self.weight = weight

    def __call__(self, kernel):
        kernel = ops.convert_to_tensor(kernel)
        axes = tuple(range(len(kernel.shape) - 1))
        squares = ops.square(kernel)
        mean, largest = ops.mean(squares, axis=axes), ops.max(squares, axis=axes)  # (filters,)
        is_flat = mean < 1e-30
        peak = ops.where(is_flat, 1.0, largest) / ops.where(is_flat, 1.0, mean)
        return ops.cast(self.weight * ops.mean(ops.log(peak)), keras.backend.floatx())

    def get_config(self):
        return {"weight": self.weight}


def _check_weight(weight):
    is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if not is_number or not 0 <= weight < math.inf:
        raise UserError(f"weight must be a number of 0 or more. Received weight={weight!r}.")
