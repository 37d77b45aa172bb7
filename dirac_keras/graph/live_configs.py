"""Configurations of layers whose functions cannot be serialized: they hold the objects themselves."""

import inspect
import warnings

import keras

_PLUGGED = (keras.Initializer, keras.regularizers.Regularizer, keras.constraints.Constraint)


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
    with without_warnings():
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
        with without_warnings():
            again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(value))
    except Exception:  # of whatever kind: get_config and from_config are the object's own code
        return False
    return again is value or (type(again) is type(value) and not inspect.isfunction(value))


def lambda_again(layer, dtype=None):
    """A new `Lambda` layer with the function of another: no code has to be loaded from a configuration.

    Args:
        layer: `keras.layers.Lambda`.
        dtype: of the new layer; None: the layer's own.
    """
    with without_warnings():
        config = layer.get_config()
    config |= {"function": layer.function, "mask": layer.mask, "arguments": layer.arguments}
    if isinstance(config.get("output_shape"), dict):  # a serialized function
        config["output_shape"] = layer.compute_output_shape
    return keras.layers.Lambda(**config | ({} if dtype is None else {"dtype": dtype}))


class without_warnings(warnings.catch_warnings):
    """Keras warns of a lambda that is serialized, which here it is not for good."""

    def __enter__(self):
        super().__enter__()
        warnings.simplefilter("ignore")
