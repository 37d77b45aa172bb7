"""Variable Activation Networks (Monti, Tootoonian & Cao, "Avoiding degradation in deep feed-forward networks by phasing
out skip-connections")."""

import functools

import keras

from dirac_keras.layers import BatchNormalization, add_variable_skip
from dirac_keras.models.blocks import (
    EPSILON,
    MOMENTUM,
    check_count,
    check_initializer,
    check_input_shape,
    check_positive,
    classifier_head,
    fresh_initializer,
    scaled_channels,
)

KINDS = ("dense", "conv")
GROUPS = 4  # of a convolutional network
FIRST_CHANNELS = 16  # of its first group; each further one has twice as many


def build_van(
    kind="dense",
    depth=None,
    units=50,
    width=1,
    num_classes=10,
    input_shape=None,
    constrained=True,
    kernel_initializer="he_normal",
    classifier_activation=None,
    normalization=BatchNormalization,
    name=None,
):
    """A network of blocks `F(x) + (1 - alpha) x` (eq. 4): a ResNet at its start, plain when alpha is 1.

    Train it with the callback `SkipPhaseOut`; `fold` then makes a chain without any addition of it.

    Args:
        kind: `"dense"`: a dense layer, `depth` blocks of `units` with F = BatchNormalization, ReLU, dense. `"conv"`:
            a 3x3 convolution, four groups of n blocks with F = conv-BN-ReLU-conv-BN-ReLU, `depth` = 8 n + 2.
        depth: int; None is 30 for `"dense"` and 26 for `"conv"`.
        units: int, of the layers of `"dense"`.
        width: number above 0, factor on the channels 16, 32, 64, 128 of the groups of `"conv"`.
        num_classes: int, outputs.
        input_shape: `(height, width, channels)`, or any shape for `"dense"`, which flattens it. None is (28, 28, 1)
            for `"dense"` and (32, 32, 3) for `"conv"`.
        constrained: bool. False is VAN(lambda = 0), whose skips no multiplier takes away.
        kernel_initializer: of every layer but the classifier, Keras' or its name.
        classifier_activation: of the last layer; None returns float32 logits.
        normalization: class of the BatchNormalization layers.
        name: of the model; None makes one from the arguments.

    Returns: functional `keras.Model`, `(batch, *input_shape)` -> `(batch, num_classes)`. Layers are named by position:
        `dense1`, `block1_bn`, `block1_relu`, `block1_dense`, `block1_skip`, `block1_add`, ..., `head_dense`; and
        `conv1`, `conv1_bn`, `conv1_relu`, `group1_block1_conv1`, `group1_block1_conv1_bn`, `group1_block1_conv1_relu`,
        ..., `group2_block1_projection`, `group2_block1_skip`, `group2_block1_add`, ..., `head_dense`.
    Raises: ValueError: if an argument is unknown or out of range; with the nearest two depths if one does not fit.
    Source: section 4. Groups 2 to 4 begin with a convolution of stride 2, and a skip there has a 1x1 convolution of
        stride 2, the projection W' of eq. 1, before its VariableSkip. Nothing follows an addition.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}. Received kind={kind!r}.")
    check_count("num_classes", num_classes)
    check_initializer("kernel_initializer", kernel_initializer)
    norm = functools.partial(normalization, epsilon=EPSILON, momentum=MOMENTUM)
    if kind == "dense":
        depth = 30 if depth is None else depth
        check_count("depth", depth)
        check_count("units", units)
        inputs, x = _dense_chain(input_shape or (28, 28, 1), depth, units, kernel_initializer, norm, constrained)
        outputs = keras.layers.Dense(num_classes, classifier_activation, name="head_dense", dtype="float32")(x)
    else:
        check_positive("width", width)
        depth = 26 if depth is None else depth
        blocks = blocks_per_group(depth)
        inputs, x = _conv_chain(input_shape or (32, 32, 3), blocks, width, kernel_initializer, norm, constrained)
        outputs = classifier_head(x, num_classes, classifier_activation)
    size = f"{depth}" if kind == "dense" else f"{depth}_{width:g}".replace(".", "p")
    default_name = f"van_{kind}_{size}" + ("" if constrained else "_unconstrained")
    return keras.Model(inputs, outputs, name=name or default_name)


def blocks_per_group(depth):
    """Number of blocks in each of the four groups of a convolutional network.

    Raises: ValueError: if `depth` is not 8 n + 2, with the nearest two depths that are.
    """
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 10 or (depth - 2) % 8:
        number = depth if isinstance(depth, (int, float)) and 10 < depth < float("inf") else 10
        below = 2 + 8 * max(1, int((number - 2) // 8))
        raise ValueError(
            f"depth must be 8 n + 2 for kind='conv'. Received depth={depth!r}; the nearest are {below} and {below + 8}."
        )
    return (depth - 2) // 8


def _dense_chain(input_shape, depth, units, initializer, norm, constrained):
    if not isinstance(input_shape, (tuple, list)) or not all(isinstance(n, int) and n > 0 for n in input_shape):
        raise ValueError(
            f"input_shape must be a tuple of whole numbers above 0, without the batch. Received {input_shape!r}."
        )

    def dense(name):
        return keras.layers.Dense(units, kernel_initializer=fresh_initializer(initializer), name=name)

    inputs = keras.Input(tuple(input_shape), name="images")
    x = dense("dense1")(keras.layers.Flatten(name="flatten")(inputs))  # (batch, units)
    for block in range(1, depth + 1):
        residual = norm(name=f"block{block}_bn")(x)
        residual = keras.layers.ReLU(name=f"block{block}_relu")(residual)
        residual = dense(f"block{block}_dense")(residual)
        x = add_variable_skip(residual, x, name=f"block{block}", constrained=constrained)
    return inputs, x


def _conv_chain(input_shape, blocks, width, initializer, norm, constrained):
    def conv(channels, size, strides, name):
        start = fresh_initializer(initializer)
        return keras.layers.Conv2D(
            channels, size, strides=strides, padding="same", use_bias=False, kernel_initializer=start, name=name
        )

    def conv_bn_relu(x, channels, strides, name):
        x = conv(channels, 3, strides, name)(x)
        return keras.layers.ReLU(name=f"{name}_relu")(norm(name=f"{name}_bn")(x))

    # Three strides halve the sides; the last group still needs a pixel.
    inputs = keras.Input(check_input_shape(input_shape, min_size=2 ** (GROUPS - 1)), name="images")
    x = conv_bn_relu(inputs, scaled_channels(FIRST_CHANNELS, width), 1, "conv1")
    for group in range(1, GROUPS + 1):
        channels = scaled_channels(FIRST_CHANNELS * 2 ** (group - 1), width)
        for block in range(1, blocks + 1):
            name = f"group{group}_block{block}"
            strides = 2 if group > 1 and block == 1 else 1
            residual = conv_bn_relu(x, channels, strides, f"{name}_conv1")
            residual = conv_bn_relu(residual, channels, 1, f"{name}_conv2")
            if strides > 1:
                x = conv(channels, 1, strides, f"{name}_projection")(x)
            x = add_variable_skip(residual, x, name=name, constrained=constrained)
    return inputs, x
