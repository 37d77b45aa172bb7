"""RepVGG: a chain of blocks of three linear branches, which `fold` merges; or merged already, as it is deployed."""

import keras

from dirac_keras.weights.networks.pieces import classifier, conv, norm


def build_repvgg(num_blocks, channels, stem, num_classes, input_shape, groups=1, merged=False, name=None):
    """3x3/2 stem block and four groups, each of which begins with stride 2.

    Args:
        num_blocks: sequence of int, blocks of each group.
        channels: sequence of int, of each group.
        stem: int, channels of the stem.
        num_classes: int.
        input_shape: `(height, width, channels)`; a side may be None.
        groups: int, of the convolutions in every second block of a group.
        merged: bool, whether each block is one 3x3 convolution with bias.

    Source: Ding et al. 2021, arXiv:2101.03697; `repvgg.py` of the authors' repository; timm, `models/byobnet.py`.
    """
    inputs = keras.Input(input_shape, name="images")
    block = _merged if merged else _branches
    x = block(inputs, stem, 2, 1, "stem")
    for group, (blocks, filters) in enumerate(zip(num_blocks, channels, strict=True), start=1):
        for number in range(1, blocks + 1):
            strides, own = 2 if number == 1 else 1, groups if number % 2 == 0 else 1
            x = block(x, filters, strides, own, f"group{group}_block{number}")
    return keras.Model(inputs, classifier(x, num_classes), name=name)


def _branches(x, filters, strides, groups, name):
    branches = [
        norm(conv(x, filters, 3, f"{name}_conv3", strides, groups), f"{name}_conv3_bn"),
        norm(conv(x, filters, 1, f"{name}_conv1", strides, groups), f"{name}_conv1_bn"),
    ]
    if strides == 1 and x.shape[-1] == filters:
        branches.append(norm(x, f"{name}_identity_bn"))
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")(branches))


def _merged(x, filters, strides, groups, name):
    x = conv(x, filters, 3, f"{name}_conv3", strides, groups, use_bias=True)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
