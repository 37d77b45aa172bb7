"""Pieces that the families share, and the checks of their arguments."""

import math

import keras

# Of every family's BatchNormalization: as in the DiracNet authors' code; the PlainNet paper names none.
EPSILON = 1e-5
MOMENTUM = 0.9


def check_input_shape(input_shape, min_size):
    """Return `input_shape` as a tuple `(height, width, channels)`, channels known, sides None or at least `min_size`.

    Raises: ValueError: that names `input_shape`.
    """
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
    if len(shape) != 3 or not all(side is None or (isinstance(side, int) and side > 0) for side in shape):
        raise ValueError(f"input_shape must be (height, width, channels), without the batch. Received {input_shape!r}.")
    if shape[-1] is None:
        raise ValueError(f"input_shape needs a known number of channels in its last place. Received {shape}.")
    if any(side is not None and side < min_size for side in shape[:2]):
        raise ValueError(f"input_shape must be at least {min_size} x {min_size} pixels here. Received {shape}.")
    return shape


def check_positive(name, value, zero=False):
    """Raise ValueError unless `value` is a finite number above zero, or zero where that is allowed."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{name} must be a number {'of 0 or more' if zero else 'above 0'}. Received {name}={value!r}.")


def check_count(name, value):
    """Raise ValueError unless `value` is a whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number above 0. Received {name}={value!r}.")


def check_initializer(name, value):
    """Raise ValueError unless `value` is an initializer that Keras knows, or None."""
    try:
        keras.initializers.get(value)
    except (ValueError, TypeError):
        raise ValueError(
            f"{name} must be a Keras initializer or its name, such as he_normal. Received {name}={value!r}."
        ) from None


def fresh_initializer(initializer):
    """An initializer for one more layer: an object of Keras' gives the same numbers at every call."""
    initializer = keras.initializers.get(initializer)
    return initializer.clone() if isinstance(initializer, keras.initializers.Initializer) else initializer


def scaled_channels(channels, width):
    """`channels * width`, a whole number of at least one."""
    return max(1, round(channels * width))


def classifier_head(x, num_classes, classifier_activation=None):
    """Global average pool and dense layer, in float32 under every precision so that logits are not quantised."""
    x = keras.layers.GlobalAveragePooling2D(name="head_pool", dtype="float32")(x)
    return keras.layers.Dense(num_classes, activation=classifier_activation, name="head_dense", dtype="float32")(x)
