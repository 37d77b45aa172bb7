"""A folded DiracNet, a chain of convolutions with bias and ReLUs, as its authors published it."""

import keras

from dirac_keras.models.diracnet import convolutions_per_group
from dirac_keras.weights.networks.pieces import classifier, conv, pool_of_stem


def build_folded_diracnet(depth, num_classes, input_shape, channels=64):
    """What `fold(build_diracnet(depth, layout="imagenet"))` gives, with the same names, untrained.

    Args:
        depth: int, 18 or 34.
        num_classes: int.
        input_shape: `(height, width, channels)`; a side may be None.
        channels: int, of the stem and the first group.

    Source: `diracnet.py` of the authors' repository; arXiv:1706.00388, section 3.2.
    """
    inputs = keras.Input(input_shape, name="images")
    x = pool_of_stem(conv(inputs, channels, 7, "conv1", strides=2, use_bias=True))
    for group, blocks in enumerate(convolutions_per_group(depth, "imagenet"), start=1):
        if group > 1:
            x = keras.layers.MaxPooling2D(2, name=f"group{group}_pool")(x)
        for block in range(1, blocks + 1):
            name = f"group{group}_block{block}"
            x = keras.layers.ReLU(name=f"{name}_relu")(x)
            x = conv(x, channels * 2 ** (group - 1), 3, f"{name}_conv", use_bias=True)
    x = keras.layers.ReLU(name="head_relu")(x)
    return keras.Model(inputs, classifier(x, num_classes), name=f"folded_diracnet_{depth}")
