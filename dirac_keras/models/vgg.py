"""VGG for CIFAR, with BatchNormalization (Simonyan & Zisserman 2015, arXiv:1409.1556, table 1)."""

import keras

from dirac_keras.errors import UserError
from dirac_keras.layers import BatchNormalization
from dirac_keras.models.blocks import (
    check_count,
    check_initializer,
    check_input_shape,
    check_positive,
    classifier_head,
    scaled_channels,
)
from dirac_keras.models.family import Family, Layout, kernel_start, register_family
from dirac_keras.models.residual import normalization_factory, ordinary_conv

# Convolutions of each group; the depth of the original's name counts its three dense layers too.
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)


def build_vgg(
    depth=16,
    width=1,
    num_classes=10,
    input_shape=(32, 32, 3),
    kernel_initializer=None,
    classifier_activation=None,
    normalization=BatchNormalization,
    include_top=True,
    name=None,
):
    """A plain chain of 3x3 convolution, BatchNormalization and ReLU, with a max-pool between its five groups.

    Args:
        depth: int, 11, 13, 16 or 19: the columns A, B, D, E of the original.
        width: number above 0, factor on the channels 64, 128, 256, 512, 512 of the groups.
        num_classes: int, outputs.
        input_shape: `(height, width, channels)`; a side may be None.
        kernel_initializer: of the convolutions; None is He-normal.
        classifier_activation: of the last layer; None returns float32 logits.
        normalization: class of the BatchNormalization layers.
        include_top: bool. False leaves out pool and classifier: the features of the last layer, for another head.
        name: of the model; None makes one from the arguments.

    Returns: functional `keras.Model`, `(batch, height, width, channels)` -> `(batch, num_classes)`. Layers are named
        by position: `group1_conv1`, `group1_conv1_bn`, `group1_conv1_relu`, `group2_pool`, ..., `head_dense`.
    Raises: ValueError: if a depth does not fit, with the nearest two that do, or an argument is out of range.
    Source: arXiv:1409.1556, table 1; as in the Wide ResNet authors' code for CIFAR, BatchNormalization behind every
        convolution, a global average pool in place of the fifth max-pool, and one dense layer in place of three.
    """
    convolutions = _convolutions(depth)
    check_positive("width", width)
    check_count("num_classes", num_classes)
    check_initializer("kernel_initializer", kernel_initializer)
    inputs = keras.Input(check_input_shape(input_shape, min_size=2 ** (len(CHANNELS) - 1)), name="images")
    conv, norm = ordinary_conv(kernel_initializer), normalization_factory(normalization)
    x = inputs
    for group, (channels, repeats) in enumerate(zip(CHANNELS, convolutions, strict=True), start=1):
        if group > 1:
            x = keras.layers.MaxPooling2D(2, name=f"group{group}_pool")(x)
        for number in range(1, repeats + 1):
            layer = f"group{group}_conv{number}"
            x = conv(x, scaled_channels(channels, width), 3, 1, layer)
            x = keras.layers.ReLU(name=f"{layer}_relu")(norm(name=f"{layer}_bn")(x))
    outputs = classifier_head(x, num_classes, classifier_activation) if include_top else x
    return keras.Model(inputs, outputs, name=name or f"vgg_{depth}_{width:g}".replace(".", "p"))


def _convolutions(depth):
    if isinstance(depth, int) and depth in CONVOLUTIONS:
        return CONVOLUTIONS[depth]
    *others, last = CONVOLUTIONS
    raise UserError(f"depth must be {', '.join(map(str, others))} or {last}. Received depth={depth!r}.")


FAMILY = register_family(
    Family(
        name="vgg",
        builder=build_vgg,
        layouts={
            "conv": Layout(
                depths=_convolutions,
                depth_rule="11, 13, 16 or 19",
                search={"depth": "11,13,16", "width": "0.25-1"},
                channels=CHANNELS,
            )
        },
        arguments={"kernel_initializer": kernel_start},
    )
)
