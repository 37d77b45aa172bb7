"""The same model in another precision."""

import keras

from dirac_keras.graph.functional import as_functional, new_inputs
from dirac_keras.graph.live_configs import lambda_again, live_config
from dirac_keras.graph.nested import all_layers
from dirac_keras.precision import dtype_policy


def to_float32(model):
    """The same functional or Sequential model, same weights, computing in float32; `model` itself if it does so.

    Args:
        model: `keras.Model`, built. Nested models are converted too.

    Returns: `keras.Model`, not compiled.
    """
    return to_dtype(model, "float32")


def to_dtype(model, dtype):
    """`to_float32` for any dtype; in `"float64"` rounding is out of the way when two networks are compared."""
    return _converted(model, dtype, None)


def _converted(model, dtype, inputs):
    if all(layer.compute_dtype in (None, dtype) for layer in all_layers(model)):
        return model

    def convert(layer):
        if isinstance(layer, keras.Model):  # which casts what it is given to the dtype of its inputs
            return _converted(layer, dtype, new_inputs(as_functional(layer), precision=dtype))
        if _looks_up(layer):
            return layer
        if type(layer) is keras.layers.Lambda:
            return lambda_again(layer, dtype)
        return type(layer).from_config(_in_dtype(live_config(layer), dtype))

    with dtype_policy(dtype):  # which layers in a layer may follow
        converted = keras.models.clone_model(model, input_tensors=inputs, clone_function=convert)
    take_weights(converted, model)
    return converted


def take_weights(copy, model):
    """Give a copy of a model its weights, and what layers derive of them."""
    copy.set_weights(model.get_weights())
    for layer in all_layers(copy):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def has_low_precision(model):
    """Whether any layer of a model, nested models included, computes in float16 or bfloat16."""
    return any(layer.compute_dtype in ("float16", "bfloat16") for layer in (model, *all_layers(model)))


def _looks_up(layer):
    """Whether it has a table, from data, that no configuration holds. It computes nothing that would be rounded."""
    return isinstance(layer, keras.layers.Discretization) or hasattr(layer, "get_vocabulary")


def _in_dtype(config, dtype):
    """A configuration, those of layers in a layer too, with `dtype` where a precision of floats stands."""
    if isinstance(config, (list, tuple)):
        return type(config)(_in_dtype(value, dtype) for value in config)
    if not isinstance(config, dict):
        return config
    return {
        key: dtype if key == "dtype" and "float" in _policy_name(value) else _in_dtype(value, dtype)
        for key, value in config.items()
    }


def _policy_name(value):
    if isinstance(value, dict):  # a serialized policy
        value = value.get("config", {}).get("name", "")
    name = getattr(value, "name", value) or ""
    return name if isinstance(name, str) else ""
