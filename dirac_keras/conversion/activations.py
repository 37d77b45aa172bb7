"""Activations: where each is the identity, and what it makes of bounds."""

import dataclasses
import math

import keras
import numpy as np

from dirac_keras.graph.layer_types import raw_operation_name

INFINITE = math.inf


@dataclasses.dataclass(frozen=True)
class Activation:
    """An activation that works on each number by itself and never decreases.

    Args:
        function: array -> array, of float64.
        low, high: bounds of the numbers that it leaves as they are.
        slope: its factor below `low` where it is linear there, as LeakyReLU's; None where it is not.
    """

    function: object
    low: float
    high: float
    slope: float | None = None

    @classmethod
    def relu(cls, high=INFINITE, slope=0.0):
        return cls(lambda x: np.minimum(np.where(x < 0.0, slope * x if slope else 0.0, x), high), 0.0, high, slope)

    @classmethod
    def thresholded(cls, threshold, high, slope):
        """Keras' ReLU with a threshold t > 0: x from t on, `slope * (x - t)` below."""
        return cls(lambda x: np.minimum(np.where(x < threshold, slope * (x - threshold) if slope else 0.0, x), high),
                   threshold, high)  # fmt: skip


def _sigmoid(x):
    return 0.5 * (1.0 + np.tanh(0.5 * x))


_NOWHERE = (INFINITE, -INFINITE)
_FUNCTIONS = {
    "linear": Activation(lambda x: x, -INFINITE, INFINITE),
    "relu": Activation.relu(),
    "relu6": Activation.relu(6.0),
    "leaky_relu": Activation.relu(slope=0.2),
    "elu": Activation(lambda x: np.where(x < 0.0, np.expm1(np.minimum(x, 0.0)), x), 0.0, INFINITE),
    "hard_tanh": Activation(lambda x: np.clip(x, -1.0, 1.0), -1.0, 1.0),
    "sigmoid": Activation(_sigmoid, *_NOWHERE),
    "tanh": Activation(np.tanh, *_NOWHERE),
    "hard_sigmoid": Activation(lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0), *_NOWHERE),
    "softplus": Activation(lambda x: np.logaddexp(0.0, x), *_NOWHERE),
}
# Those of Keras that work on each number by itself; softmax, log_softmax, sparsemax and glu do not.
_ELEMENTWISE = (
    *_FUNCTIONS, "selu", "celu", "gelu", "silu", "softsign", "log_sigmoid", "tanh_shrink", "hard_shrink", "soft_shrink",
    "hard_silu", "mish", "exponential", "squareplus", "sparse_plus", "sparse_sigmoid", "threshold",
)  # fmt: skip
_RAW = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardTanh": "hard_tanh",
    "HardSigmoid": "hard_sigmoid",
    "Softplus": "softplus",
}


def activation_of(operation):
    """The `Activation` of a layer or raw operation; None if it is none, or of another kind. Not of PReLU."""
    if type(operation) is keras.layers.ReLU:
        threshold, slope = float(operation.threshold), float(operation.negative_slope)
        high = INFINITE if operation.max_value is None else float(operation.max_value)
        if threshold:  # below zero it jumps down, from 0 to the threshold
            return Activation.thresholded(threshold, high, slope) if threshold > 0.0 else None
        return Activation.relu(high, slope)
    if type(operation) is keras.layers.LeakyReLU:
        return Activation.relu(slope=float(operation.negative_slope))
    if type(operation) is keras.layers.ELU:
        return _FUNCTIONS["elu"] if operation.alpha == 1.0 else None
    if type(operation) is keras.layers.Activation:
        return function_of(operation.activation)
    name = raw_operation_name(operation)
    if name == "LeakyRelu":
        return Activation.relu(slope=float(operation.negative_slope))
    if name == "Clip":
        return _clipped(operation.x_min, operation.x_max)
    return _FUNCTIONS.get(_RAW.get(name))


def _clipped(low, high):
    """`ops.clip` between two numbers; None between others, such as one for each channel."""
    if not all(isinstance(bound, (int, float)) and math.isfinite(bound) for bound in (low, high)):
        return None
    return Activation(lambda x: np.clip(x, low, high), float(low), float(high))


def function_of(function):
    """The `Activation` of a function of `keras.activations`; None for others."""
    if isinstance(function, keras.layers.Layer):
        return activation_of(function)
    for name, activation in _FUNCTIONS.items():
        if function is getattr(keras.activations, name, None):
            return activation
    return None


def is_activation(operation):
    """Whether a layer or raw operation is an activation that works on each number by itself: not softmax."""
    if type(operation) in (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU, keras.layers.PReLU):
        return True
    if type(operation) is keras.layers.Activation:
        return operation.activation is not keras.activations.linear
    name = (raw_operation_name(operation) or "").lower()
    return bool(name) and name in {one.replace("_", "") for one in (*_ELEMENTWISE, "clip")}


def is_elementwise(function):
    """Whether an activation is known to work on each number by itself, whatever its channel."""
    if function is None or (isinstance(function, keras.layers.Layer) and activation_of(function)):
        return True
    return any(function is getattr(keras.activations, name, None) for name in _ELEMENTWISE)
