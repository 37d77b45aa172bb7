"""The VGG of torchvision and timm, with its three dense layers, the first two as convolutions over all places."""

import keras

from dirac_keras.errors import UserError
from dirac_keras.models.vgg import CHANNELS, CONVOLUTIONS
from dirac_keras.weights.networks.pieces import conv, norm

STRIDE = 32  # of the last pool: five of them halve the sides


def build_imagenet_vgg(depth, batch_norm, num_classes, input_shape, channels=CHANNELS, units=4096, window=7):
    """3x3 convolutions with bias in five groups, each with a max-pool behind it, and the classifier of the original.

    Args:
        depth: int, 11, 13, 16 or 19.
        batch_norm: bool, whether BatchNormalization follows each 3x3 convolution.
        num_classes: int.
        input_shape: `(height, width, channels)`, 224 to 255 pixels on each side, so that 7 x 7 places are left.
        channels: sequence of int, of each group.
        units: int, of the first two layers of the classifier.
        window: int, places on each side that the classifier's first layer takes.

    Raises: ValueError: if a side leaves other than `window` places: the libraries would pool there, each in its way.
    Source: Simonyan & Zisserman 2015, arXiv:1409.1556, table 1; `torchvision/models/vgg.py`.
    """
    if any(side is None or side // STRIDE != window for side in input_shape[:2]):
        raise UserError(
            f"input_shape must have {STRIDE * window} to {STRIDE * (window + 1) - 1} pixels on each side for a VGG "
            f"with its dense layers. Received {tuple(input_shape)}."
        )
    inputs = x = keras.Input(input_shape, name="images")
    for group, (filters, repeats) in enumerate(zip(channels, CONVOLUTIONS[depth], strict=True), start=1):
        for number in range(1, repeats + 1):
            name = f"group{group}_conv{number}"
            x = conv(x, filters, 3, name, use_bias=True)
            x = norm(x, f"{name}_bn") if batch_norm else x
            x = keras.layers.ReLU(name=f"{name}_relu")(x)
        x = keras.layers.MaxPooling2D(2, name=f"group{group}_pool")(x)
    x = keras.layers.Conv2D(units, window, name="head_conv1")(x)
    x = keras.layers.ReLU(name="head_conv1_relu")(x)
    x = keras.layers.Conv2D(units, 1, name="head_conv2")(x)
    x = keras.layers.ReLU(name="head_conv2_relu")(x)
    x = keras.layers.Flatten(name="head_flatten")(x)
    outputs = keras.layers.Dense(num_classes, name="head_dense")(x)
    return keras.Model(inputs, outputs, name=f"vgg_{depth}{'_bn' if batch_norm else ''}")


def positions_of_features(depth, batch_norm):
    """Layer -> its number in the row of layers `features` that both libraries have."""
    positions, index = {}, 0
    for group, repeats in enumerate(CONVOLUTIONS[depth], start=1):
        for number in range(1, repeats + 1):
            name = f"group{group}_conv{number}"
            positions[name] = index
            if batch_norm:
                positions[f"{name}_bn"] = index + 1
            index += 3 if batch_norm else 2  # with its ReLU
        index += 1  # the pool
    return positions
