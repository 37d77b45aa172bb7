"""The ResNet of torchvision and timm: activations after the sum; with groups ResNeXt, with wide bottlenecks WRN."""

import keras

from dirac_keras.weights.networks.pieces import classifier, conv, norm, norm_relu, pool_of_stem


def build_post_activation_resnet(
    num_blocks, bottleneck, num_classes, input_shape, groups=1, width_per_group=64, channels=64, name=None
):
    """Stem of 7x7/2 and 3/2 max-pool, four groups of residual blocks, ReLU behind each sum.

    Args:
        num_blocks: sequence of int, blocks of each group.
        bottleneck: bool. True: 1x1, 3x3, 1x1 with four times the channels at the end, the stride in the 3x3
            (ResNet 1.5). False: 3x3, 3x3.
        num_classes: int.
        input_shape: `(height, width, channels)`; a side may be None.
        groups: int, of the 3x3 convolutions of bottlenecks.
        width_per_group: int, channels of such a group in the first group of blocks, for 64 channels.
        channels: int, of the stem and the first group.

    Source: He et al. 2016, arXiv:1512.03385; Xie et al. 2017, arXiv:1611.05431; `torchvision/models/resnet.py`.
    """
    inputs = keras.Input(input_shape, name="images")
    x = pool_of_stem(norm_relu(conv(inputs, channels, 7, "conv1", strides=2), "conv1"))
    for group, blocks in enumerate(num_blocks, start=1):
        planes = channels * 2 ** (group - 1)
        inner = int(planes * (width_per_group / 64.0)) * groups
        for block in range(1, blocks + 1):
            strides = 2 if block == 1 and group > 1 else 1
            place = f"group{group}_block{block}"
            if bottleneck:
                x = _bottleneck(x, inner, 4 * planes, strides, groups, place)
            else:
                x = _basic(x, planes, strides, place)
    return keras.Model(inputs, classifier(x, num_classes), name=name)


def _basic(x, channels, strides, name):
    residual = norm_relu(conv(x, channels, 3, f"{name}_conv1", strides), f"{name}_conv1")
    residual = norm(conv(residual, channels, 3, f"{name}_conv2"), f"{name}_conv2_bn")
    return _joined(x, residual, channels, strides, name)


def _bottleneck(x, inner, channels, strides, groups, name):
    residual = norm_relu(conv(x, inner, 1, f"{name}_conv1"), f"{name}_conv1")
    residual = norm_relu(conv(residual, inner, 3, f"{name}_conv2", strides, groups), f"{name}_conv2")
    residual = norm(conv(residual, channels, 1, f"{name}_conv3"), f"{name}_conv3_bn")
    return _joined(x, residual, channels, strides, name)


def _joined(x, residual, channels, strides, name):
    if strides != 1 or x.shape[-1] != channels:
        x = norm(conv(x, channels, 1, f"{name}_projection", strides), f"{name}_projection_bn")
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([x, residual]))
