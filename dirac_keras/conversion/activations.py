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
        if operation.threshold:
            return None
        high = INFINITE if operation.max_value is None else float(operation.max_value)
        return Activation.relu(high, float(operation.negative_slope))
    if type(operation) is keras.layers.LeakyReLU:
        return Activation.relu(slope=float(operation.negative_slope))
    if type(operation) is keras.layers.ELU:
        return _FUNCTIONS["elu"] if operation.alpha == 1.0 else None
    if type(operation) is keras.layers.Activation:
        return function_of(operation.activation)
    name = raw_operation_name(operation)
    if name == "LeakyRelu":
        return Activation.relu(slope=float(operation.negative_slope))
    return _FUNCTIONS.get(_RAW.get(name))


def function_of(function):
    """The `Activation` of a function of `keras.activations`; None for others."""
    if isinstance(function, keras.layers.Layer):
        return activation_of(function)
    for name, activation in _FUNCTIONS.items():
        if function is getattr(keras.activations, name, None):
            return activation
    return None


def is_elementwise(function):
    """Whether an activation is known to work on each number by itself, whatever its channel."""
    if function is None or (isinstance(function, keras.layers.Layer) and activation_of(function)):
        return True
    return any(function is getattr(keras.activations, name, None) for name in _ELEMENTWISE)
