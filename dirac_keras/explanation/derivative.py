"""The gradient of a number by a tensor, on the backends that have gradients."""

import keras

from dirac_keras.errors import UserError


def gradient(function, value):
    """The gradient of a function of one tensor.

    Args:
        function: of a tensor of floats; returns `(number, more)`, the number a tensor without axes.
        value: the tensor.

    Returns: `(more, gradient of the shape of value)`; 0 where the number does not depend on it.
    Raises: ValueError: on a backend without such gradients.
    """
    backend = keras.backend.backend()
    if backend not in _GRADIENTS:
        raise UserError(
            f"gradients are taken on the {' and '.join(_GRADIENTS)} backends. Received KERAS_BACKEND={backend}; "
            "method='occlusion' needs none."
        )
    return _GRADIENTS[backend](function, value)


def _of_tensorflow(function, value):
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(value)
        number, more = function(value)
    found = tape.gradient(number, value, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return more, tf.convert_to_tensor(found)


def _of_jax(function, value):
    import jax

    def stateless(value):
        with keras.StatelessScope():  # what a layer assigns while it is traced is not kept
            return function(value)

    found, more = jax.grad(stateless, has_aux=True)(value)
    return more, found


_GRADIENTS = {"tensorflow": _of_tensorflow, "jax": _of_jax}
