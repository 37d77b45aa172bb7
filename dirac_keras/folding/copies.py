"""A layer made again from its configuration, also where its functions cannot be serialized."""

import inspect
import warnings

import keras

from dirac_keras.folding.package_objects import without_package_objects
from dirac_keras.layers import Gelu
from dirac_keras.precision import dtype_policy

_PLUGGED = (keras.Initializer, keras.regularizers.Regularizer, keras.constraints.Constraint)


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
        with _without_warnings():
            config = layer.get_config()
        config |= {"function": layer.function, "mask": layer.mask, "arguments": layer.arguments}
        if isinstance(config.get("output_shape"), dict):  # a serialized function
            config["output_shape"] = layer.compute_output_shape
        return keras.layers.Lambda(**config)
    if type(layer) is keras.layers.Identity:  # it has no get_config() of its own, and none with a policy as an object
        return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy.name)
    return type(layer).from_config(without_package_objects(live_config(layer)))


def live_config(layer, kind=None):
    """`layer.get_config()`, with objects in it where their configuration does not lead back to them.

    These are functions, regularizers, constraints and precisions that Keras does not know: lambdas, functions and
    classes that are not registered, `functools.partial`. Constructors take them as they are. Such an initializer is
    left out: the weights are set anyway.

    Args:
        layer: `keras.layers.Layer`.
        kind: a class above the layer's own, whose configuration is wanted; None: its own.
    """
    kind = kind or type(layer)
    # Of the classes above it too: a constructor may hand on what it does not name.
    constructors = [base.__init__ for base in kind.__mro__ if "__init__" in vars(base)]
    names = {name: None for made_by in constructors for name in inspect.signature(made_by).parameters}
    names = [name for name in names if name not in ("self", "name")]
    live = {name: value for name in names if is_lost(value := _argument(layer, name))}
    if not live:
        return kind.get_config(layer)
    # get_config() of an object that has harmless values in their place; the layer itself stays as it is.
    neutral = {name: keras.activations.linear if callable(value) else None for name, value in live.items()}
    stand_in = object.__new__(type(kind.__name__, (kind,), neutral))
    vars(stand_in).update({name: value for name, value in vars(layer).items() if name not in live})
    with _without_warnings():
        config = stand_in.get_config()
    config |= {name: value for name, value in live.items() if name in config}
    if not _leads_back(layer.dtype_policy):
        config["dtype"] = layer.dtype_policy
    return {name: value for name, value in config.items() if not (name in live and name.endswith("_initializer"))}


def _argument(layer, name):
    try:
        return getattr(layer, name, None)
    except Exception:  # a property that is not ready
        return None


def is_lost(value):
    """Whether it is a function or object that its configuration does not lead back to."""
    is_plugged = isinstance(value, _PLUGGED) or (callable(value) and not isinstance(value, (keras.Operation, type)))
    return is_plugged and not _leads_back(value)


def _leads_back(value):
    try:
        with _without_warnings():
            again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(value))
    except Exception:  # of whatever kind: get_config and from_config are the object's own code
        return False
    return again is value or (type(again) is type(value) and not inspect.isfunction(value))


class _without_warnings(warnings.catch_warnings):
    """Keras warns of a lambda that is serialized, which here it is not for good."""

    def __enter__(self):
        super().__enter__()
        warnings.simplefilter("ignore")
