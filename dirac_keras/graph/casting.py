"""The same model in another precision."""

import keras

from dirac_keras.graph.nested import all_layers


def to_float32(model):
    """The same functional or Sequential model, same weights, computing in float32; `model` itself if it does so.

    Args:
        model: `keras.Model`, built. Nested models are converted too.

    Returns: `keras.Model`, not compiled.
    """
    return to_dtype(model, "float32")


def to_dtype(model, dtype):
    """`to_float32` for any dtype; in `"float64"` rounding is out of the way when two networks are compared."""
    if all(layer.compute_dtype in (None, dtype) for layer in all_layers(model)):
        return model

    def convert(layer):
        if isinstance(layer, keras.Model):
            return to_dtype(layer, dtype)
        return type(layer).from_config({**layer.get_config(), "dtype": dtype})

    converted = keras.models.clone_model(model, clone_function=convert)
    converted.set_weights(model.get_weights())
    return converted


def has_low_precision(model):
    """Whether any layer of a model, nested models included, computes in float16 or bfloat16."""
    return any(layer.compute_dtype in ("float16", "bfloat16") for layer in (model, *all_layers(model)))
