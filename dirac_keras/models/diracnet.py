"""DiracNets and their plain twins (Zagoruyko & Komodakis 2017, arXiv:1706.00388, table 1 and section 3.5)."""

import functools

import keras

from dirac_keras.layers import BatchNormalization, DiracConv2D
from dirac_keras.models.blocks import (
    EPSILON,
    MOMENTUM,
    check_count,
    check_initializer,
    check_input_shape,
    check_positive,
    classifier_head,
    fresh_initializer,
    repeats_of_depth,
    scaled_channels,
)

IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # pairs of convolutions in each group

PARAMETERIZATIONS = {
    "dirac": functools.partial(DiracConv2D),  # eq. 5
    "dirac_unnormalized": functools.partial(DiracConv2D, use_weight_norm=False),  # eq. 4
    "dirac_unscaled": functools.partial(DiracConv2D, use_identity_scale=False, use_weight_norm=False),  # eq. 8
    "plain": functools.partial(keras.layers.Conv2D, kernel_initializer="he_normal"),
}


def build_diracnet(
    depth,
    width=1,
    num_classes=10,
    input_shape=(32, 32, 3),
    variant="cifar",
    parameterization="dirac",
    kernel_initializer=None,
    filter_scale=0.1,
    classifier_activation=None,
    normalization=BatchNormalization,
    name=None,
):
    """A chain of ReLU, 3x3 convolution and BatchNormalization without a single skip connection.

    Args:
        depth: int. `6 N + 4` for `variant="cifar"` (10, 16, 22, 28, 34, ...), 18 or 34 for `"imagenet"`.
        width: number above 0, factor `k` on the channels of every group.
        num_classes: int, outputs.
        input_shape: `(height, width, channels)`; a side may be None.
        variant: `"cifar"`: 3x3 stem to `16 k`, groups of 16, 32, 64 times `k` channels. `"imagenet"`: 7x7/2 stem
            to 64, 3/2 max-pool, groups of 64, 128, 256, 512 times `k`.
        parameterization: `"dirac"` (eq. 5), `"dirac_unnormalized"` (eq. 4), `"dirac_unscaled"` (eq. 8) or
            `"plain"`, the same network with ordinary convolutions (He-normal start).
        kernel_initializer: of the convolutions of the groups; None is the parameterization's own.
        filter_scale: number, where `b` starts with `"dirac"`; the others have none.
        classifier_activation: of the last layer; None returns float32 logits.
        normalization: class of the BatchNormalization layers.
        name: of the model; None makes one from the arguments.

    Returns: functional `keras.Model`, `(batch, height, width, channels)` -> `(batch, num_classes)`. Layers are named
        by position: `conv1`, `group1_block1_conv`, `group1_block1_bn`, ..., `head_dense`.
    Raises: ValueError: if a depth does not fit, with the nearest two that do, or an argument is out of range.
    Source: arXiv:1706.00388, table 1; the first block's ReLU is the one that follows the stem.
    """
    check_positive("width", width)
    check_count("num_classes", num_classes)
    if parameterization not in PARAMETERIZATIONS:
        raise ValueError(
            f"parameterization must be one of {', '.join(PARAMETERIZATIONS)}. Received {parameterization!r}."
        )
    blocks = convolutions_per_group(depth, variant)
    check_initializer("kernel_initializer", kernel_initializer)
    if parameterization == "dirac":
        check_positive("filter_scale", filter_scale, zero=True)
    conv = functools.partial(PARAMETERIZATIONS[parameterization], padding="same", use_bias=False)
    if kernel_initializer is not None:
        default_conv = conv

        def conv(*args, **kwargs):
            return default_conv(*args, kernel_initializer=fresh_initializer(kernel_initializer), **kwargs)

    if parameterization == "dirac":
        conv = functools.partial(conv, filter_scale_initializer=keras.initializers.Constant(filter_scale))
    norm = functools.partial(normalization, epsilon=EPSILON, momentum=MOMENTUM)
    stem_channels = 16 if variant == "cifar" else 64

    stem = _cifar_stem if variant == "cifar" else _imagenet_stem
    # The stem and the pools between groups halve the sides; the last group still needs a pixel.
    shape = check_input_shape(input_shape, min_size=2 ** (len(blocks) - 1) * (1 if variant == "cifar" else 4))
    inputs = keras.Input(shape, name="images")
    x = stem(inputs, scaled_channels(stem_channels, width if variant == "cifar" else 1), norm)
    for group, num_blocks in enumerate(blocks, start=1):
        if group > 1:
            x = keras.layers.MaxPooling2D(2, name=f"group{group}_pool")(x)
        channels = scaled_channels(stem_channels * 2 ** (group - 1), width)
        for block in range(1, num_blocks + 1):
            x = relu_conv_bn(x, channels, f"group{group}_block{block}", conv, norm)
    x = keras.layers.ReLU(name="head_relu")(x)
    outputs = classifier_head(x, num_classes, classifier_activation)
    name = name or f"{'plain' if parameterization == 'plain' else 'diracnet'}_{depth}_{width:g}".replace(".", "p")
    return keras.Model(inputs, outputs, name=name)


def convolutions_per_group(depth, variant):
    """Number of 3x3 convolutions in each group.

    Raises: ValueError: if `depth` does not fit `variant`, with the nearest two depths that do.
    """
    if variant == "imagenet":
        if depth not in IMAGENET_BLOCKS:
            raise ValueError(f"depth must be 18 or 34 for variant='imagenet'. Received depth={depth!r}.")
        return tuple(2 * pairs for pairs in IMAGENET_BLOCKS[depth])
    if variant != "cifar":
        raise ValueError(f"variant must be 'cifar' or 'imagenet'. Received {variant!r}.")
    return (2 * repeats_of_depth(depth, step=6, offset=4, where="variant='cifar'"),) * 3


def relu_conv_bn(x, channels, name, conv, norm):
    """One layer of the chain: ReLU, 3x3 convolution without bias, BatchNormalization."""
    x = keras.layers.ReLU(name=f"{name}_relu")(x)
    x = conv(channels, 3, name=f"{name}_conv")(x)
    return norm(name=f"{name}_bn")(x)


def _cifar_stem(x, channels, norm):
    x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name="conv1")(
        x
    )
    return norm(name="conv1_bn")(x)


def _imagenet_stem(x, channels, norm):
    # Padded by hand, evenly on all sides as in the authors' framework; Keras' "same" would shift by a pixel.
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = keras.layers.Conv2D(channels, 7, strides=2, use_bias=False, kernel_initializer="he_normal", name="conv1")(x)
    x = norm(name="conv1_bn")(x)
    # Zeros change nothing: the block that follows begins with a ReLU.
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name="pool1")(x)
