"""TensorFlow, which writes every format, also from JAX."""

import contextlib
import logging

import keras

from dirac_keras.errors import MissingExtra, UserError


def import_tensorflow(format):
    """The module. Raises: ImportError: if it is absent. ValueError: if Keras' backend has no way to it."""
    try:
        import tensorflow as tf
    except ImportError:
        raise MissingExtra(f"format={format!r} needs TensorFlow, also from JAX: pip install tensorflow") from None
    if keras.backend.backend() not in ("tensorflow", "jax", "torch"):
        raise UserError(
            f"format={format!r} needs the tensorflow, jax or torch backend of Keras. "
            f"Received KERAS_BACKEND={keras.backend.backend()}."
        )
    return tf


@contextlib.contextmanager
def quiet_tensorflow(tf):
    """No "Assets written to: <the temporary folder>"."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
