"""Pieces that the families share, and the checks of their arguments."""

import keras


def check_input_shape(input_shape, min_size):
    """Return `input_shape` as a tuple `(height, width, channels)`, channels known, sides None or at least `min_size`.

    Raises: ValueError: that names `input_shape`.
    """
    shape = tuple(input_shape)
    if len(shape) != 3:
        raise ValueError(f"input_shape must be (height, width, channels), without the batch. Received {shape}.")
    if shape[-1] is None or shape[-1] < 1:
        raise ValueError(f"input_shape needs a known number of channels in its last place. Received {shape}.")
    if any(side is not None and side < min_size for side in shape[:2]):
        raise ValueError(f"input_shape must be at least {min_size} x {min_size} pixels here. Received {shape}.")
    return shape


def check_positive(name, value):
    """Raise ValueError unless `value` is a number above zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"{name} must be a number above 0. Received {name}={value!r}.")


def scaled_channels(channels, width):
    """`channels * width`, a whole number of at least one."""
    return max(1, round(channels * width))


def classifier_head(x, num_classes, classifier_activation=None):
    """Global average pool and dense layer, in float32 under every precision so that logits are not quantised."""
    x = keras.layers.GlobalAveragePooling2D(name="head_pool", dtype="float32")(x)
    return keras.layers.Dense(num_classes, activation=classifier_activation, name="head_dense", dtype="float32")(x)
