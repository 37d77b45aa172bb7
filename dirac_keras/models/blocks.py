"""Pieces that the families share, and the checks of their arguments."""

import math

import keras

from dirac_keras.errors import UserError

# Of every family's BatchNormalization: as in the DiracNet authors' code; the PlainNet paper names none.
EPSILON = 1e-5
MOMENTUM = 0.9
IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # pairs of convolutions in each group, by depth


def check_input_shape(input_shape, min_size):
    """Return `input_shape` as a tuple `(height, width, channels)`, channels known, sides None or at least `min_size`.

    Raises: ValueError: that names `input_shape`.
    """
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
    if len(shape) != 3 or not all(side is None or (isinstance(side, int) and side > 0) for side in shape):
        raise UserError(f"input_shape must be (height, width, channels), without the batch. Received {input_shape!r}.")
    if shape[-1] is None:
        raise UserError(f"input_shape needs a known number of channels in its last place. Received {shape}.")
    if any(side is not None and side < min_size for side in shape[:2]):
        raise UserError(
            f"input_shape must be at least {min_size} x {min_size} pixels here. Received {shape}: give larger images "
            "(`image_size` where they are read)."
        )
    return shape


def check_positive(name, value, zero=False):
    """Raise ValueError unless `value` is a finite number above zero, or zero where that is allowed."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or (value == 0 and not zero):
        raise UserError(f"{name} must be a number {'of 0 or more' if zero else 'above 0'}. Received {name}={value!r}.")


def check_finite(name, value):
    """Raise ValueError unless `value` is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UserError(f"{name} must be a finite number. Received {name}={value!r}.")


def check_count(name, value):
    """Raise ValueError unless `value` is a whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{name} must be a whole number above 0. Received {name}={value!r}.")


def check_initializer(name, value):
    """Raise ValueError unless `value` is an initializer that Keras knows, or None."""
    try:
        keras.initializers.get(value)
    except (ValueError, TypeError):
        raise UserError(
            f"{name} must be a Keras initializer or its name, such as he_normal. Received {name}={value!r}."
        ) from None


def fresh_initializer(initializer):
    """An initializer for one more layer: an object of Keras' gives the same numbers at every call."""
    initializer = keras.initializers.get(initializer)
    return initializer.clone() if isinstance(initializer, keras.initializers.Initializer) else initializer


def repeats_of_depth(depth, step, offset, where):
    """`N` of `depth = step N + offset`, at least 1.

    Args:
        where: text, the argument under which the formula holds, as in `layout='cifar'`; "" where it always does.

    Raises: ValueError: if `depth` does not fit, with the nearest two that do.
    """
    is_whole = isinstance(depth, int) and not isinstance(depth, bool)
    if is_whole and depth >= step + offset and (depth - offset) % step == 0:
        return (depth - offset) // step
    is_number = isinstance(depth, (int, float)) and math.isfinite(depth)
    below = step * max(1, int((depth - offset) // step) if is_number else 1) + offset
    raise UserError(
        f"depth must be {step} N + {offset}{f' for {where}' if where else ''}. Received depth={depth!r}; "
        f"the nearest are {below} and {below + step}."
    )


def flat_input(input_shape):
    """An input of any shape and its features in a row, `(batch, features)`: where dense networks begin.

    Returns: the input tensor and the flattened one.
    Raises: ValueError: that names `input_shape`.
    """
    if not isinstance(input_shape, (tuple, list)) or not all(isinstance(n, int) and n > 0 for n in input_shape):
        raise UserError(
            f"input_shape must be a tuple of whole numbers above 0, without the batch. Received {input_shape!r}."
        )
    inputs = keras.Input(tuple(input_shape), name="images")
    return inputs, keras.layers.Flatten(name="flatten")(inputs)


def even_conv(x, channels, kernel_size, strides, name, kernel_initializer="he_normal", groups=1, use_bias=False):
    """A convolution; `(batch, h, w, in)` -> `(batch, ceil(h / strides), ceil(w / strides), channels)`.

    A strided one is padded by hand, evenly on all sides as in the authors' frameworks: Keras' "same" would sample the
    odd pixels, a skip of stride 2 the even ones.
    """
    is_padded = strides > 1 and kernel_size > 1
    if is_padded:
        x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
    return keras.layers.Conv2D(
        channels,
        kernel_size,
        strides=strides,
        padding="valid" if is_padded else "same",
        groups=groups,
        use_bias=use_bias,
        kernel_initializer=fresh_initializer(kernel_initializer),
        name=name,
    )(x)


def scaled_channels(channels, width):
    """`channels * width`, a whole number of at least one."""
    return max(1, round(channels * width))


def head_dtype():
    """Of the layers that make logits: float32 also in mixed precision, so that they are not quantised, or float64."""
    return "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"


def classifier_head(x, num_classes, classifier_activation=None, kernel_initializer="glorot_uniform"):
    """Global average pool and dense layer, in `head_dtype`.

    Features `(batch, units)` are taken as they are.
    """
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name="head_pool", dtype=head_dtype())(x)
    return keras.layers.Dense(
        num_classes,
        activation=classifier_activation,
        kernel_initializer=kernel_initializer,
        name="head_dense",
        dtype=head_dtype(),
    )(x)
