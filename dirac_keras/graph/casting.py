"""The same model in another precision."""

import keras

from dirac_keras.graph.functional import as_functional, new_inputs
from dirac_keras.graph.live_configs import lambda_again, live_config
from dirac_keras.graph.nested import all_layers
from dirac_keras.precision import dtype_policy

_QUANTIZED = "_from_"  # in the name of a quantized policy, as in int8_from_mixed_bfloat16


def to_float32(model):
    """The same functional or Sequential model, same weights, computing in float32; `model` itself if it does so.

    Layers that Keras quantized to float8 keep their kernels in full precision beside the scales that round them: they
    become ordinary layers, and the scales go. Those quantized to integers have nothing but integers: they keep these
    and compute the rest in float32.

    Args:
        model: `keras.Model`, built. Nested models are converted too.

    Returns: `keras.Model`, not compiled.
    """
    return to_dtype(model, "float32")


def to_dtype(model, dtype):
    """`to_float32` for any dtype; in `"float64"` rounding is out of the way when two networks are compared."""
    return _converted(model, dtype, None)


def _converted(model, dtype, inputs):
    if all(layer.compute_dtype in (None, dtype) for layer in all_layers(model)) and not _has_float8(model):
        return model

    def convert(layer):
        if isinstance(layer, keras.Model):  # which casts what it is given to the dtype of its inputs
            return _converted(layer, dtype, new_inputs(as_functional(layer), precision=dtype))
        if _looks_up(layer):
            return layer
        if type(layer) is keras.layers.Lambda:
            return lambda_again(layer, dtype)
        return type(layer).from_config(in_dtype(live_config(layer), dtype))

    with dtype_policy(dtype):  # which layers in a layer may follow
        converted = keras.models.clone_model(model, input_tensors=inputs, clone_function=convert)
    take_weights(converted, model)
    return converted


def take_weights(copy, model):
    """Give a copy of a model its weights, and what layers derive of them; of a float8 layer those without scales."""
    weights = [weight for weight in model.weights if not _is_of_float8(weight)]
    by_path = {weight.path: weight for weight in weights}
    if len(by_path) == len(weights) and {weight.path for weight in copy.weights} == by_path.keys():
        # `quantize` adds and takes away weights, so that their order may be another than that of a new layer.
        weights = [by_path[weight.path] for weight in copy.weights]
    copy.set_weights([keras.ops.convert_to_numpy(weight) for weight in weights])
    for layer in all_layers(copy):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def has_low_precision(model):
    """Whether any layer of a model, nested models included, computes in float16, bfloat16 or float8."""
    is_half = any(layer.compute_dtype in ("float16", "bfloat16") for layer in (model, *all_layers(model)))
    return is_half or _has_float8(model)


def _has_float8(model):
    """Whether any layer was quantized to float8; its `compute_dtype` says nothing of it."""
    return any(map(_is_of_float8, model.weights))


def _is_of_float8(weight):
    """Whether it is a scale or a history of the largest values, which Keras keeps for float8 alone."""
    return getattr(weight, "overwrite_with_gradient", False)


def _looks_up(layer):
    """Whether it has a table, from data, that no configuration holds. It computes nothing that would be rounded."""
    return isinstance(layer, keras.layers.Discretization) or hasattr(layer, "get_vocabulary")


def in_dtype(config, dtype):
    """A layer's configuration, those of layers in a layer too, with `dtype` where a precision of floats stands."""
    if isinstance(config, (list, tuple)):
        return type(config)(in_dtype(value, dtype) for value in config)
    if not isinstance(config, dict):
        return config
    return {
        key: _policy_in(value, dtype) if key == "dtype" and "float" in _policy_name(value) else in_dtype(value, dtype)
        for key, value in config.items()
    }


def _policy_in(policy, dtype):
    """A policy of a layer with `dtype` in the place of its precision of floats; integers stay what they are."""
    name = _policy_name(policy)
    mode, is_quantized, _ = name.partition(_QUANTIZED)
    return f"{mode}{_QUANTIZED}{dtype}" if is_quantized and mode != "float8" else dtype


def _policy_name(value):
    if isinstance(value, dict):  # a serialized policy
        config = value.get("config", {})
        value = config.get("name") or _QUANTIZED.join(config[key] for key in ("mode", "source_name") if key in config)
    name = getattr(value, "name", value) or ""
    return name if isinstance(name, str) else ""
