"""A layer made again from its configuration, also where its functions cannot be serialized."""

import keras

from dirac_keras.folding.package_objects import without_package_objects
from dirac_keras.graph.live_configs import lambda_again, live_config
from dirac_keras.layers import Gelu
from dirac_keras.precision import dtype_policy


def keras_own(layer):
    """The Keras layer that computes the same as one of this package without weights; None for other layers."""
    if type(layer) is not Gelu:
        return None
    return keras.layers.Activation("gelu", name=layer.name, dtype=layer.dtype_policy)


def make_again(layer):
    """A new layer or operation of the same class and configuration; its weights are not copied.

    Raises: whatever its `get_config` or `from_config` raises.
    """
    if not isinstance(layer, keras.layers.Layer):
        return type(layer).from_config(layer.get_config())
    with dtype_policy(layer.dtype_policy):  # what it holds may have been made under that policy
        return _make_again(layer)


def _make_again(layer):
    if type(layer) is keras.layers.Lambda:  # its function is at hand: no need to load code from a configuration
        return lambda_again(layer)
    if type(layer) is keras.layers.Identity:  # it has no get_config() of its own, and none with a policy as an object
        return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy.name)
    return type(layer).from_config(without_package_objects(live_config(layer)))
