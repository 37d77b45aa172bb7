"""ResNet, ResNeXt and Wide ResNet of torchvision and timm, which have the same names.

Source: `torchvision/models/resnet.py` 0.14 and 0.29, `timm/models/resnet.py` 0.6 and 1.0.
"""

import functools

from dirac_keras.weights.layout import Layout
from dirac_keras.weights.layouts.images import imagenet
from dirac_keras.weights.networks.resnet import build_post_activation_resnet

TORCHVISION = {
    "conv1": "conv1",
    "conv1_bn": "bn1",
    "group{g}_block{b}_conv{c}": "layer{g}.{b-1}.conv{c}",
    "group{g}_block{b}_conv{c}_bn": "layer{g}.{b-1}.bn{c}",
    "group{g}_block{b}_projection": "layer{g}.{b-1}.downsample.0",
    "group{g}_block{b}_projection_bn": "layer{g}.{b-1}.downsample.1",
    "head_dense": "fc",
}
# Name -> blocks of each group, whether they are bottlenecks, groups of the 3x3, its channels in a group.
NETWORKS = {
    "resnet18": ((2, 2, 2, 2), False, 1, 64),
    "resnet34": ((3, 4, 6, 3), False, 1, 64),
    "resnet50": ((3, 4, 6, 3), True, 1, 64),
    "resnet101": ((3, 4, 23, 3), True, 1, 64),
    "resnet152": ((3, 8, 36, 3), True, 1, 64),
    "resnext50_32x4d": ((3, 4, 6, 3), True, 32, 4),
    "resnext101_32x8d": ((3, 4, 23, 3), True, 32, 8),
    "resnext101_64x4d": ((3, 4, 23, 3), True, 64, 4),
    "wide_resnet50_2": ((3, 4, 6, 3), True, 1, 128),
    "wide_resnet101_2": ((3, 4, 23, 3), True, 1, 128),
}


def layouts(num_blocks, bottleneck, groups, width_per_group, channels=64, name=None):
    """The layout of such a network; arguments as in `build_post_activation_resnet`."""
    build = functools.partial(
        build_post_activation_resnet,
        num_blocks,
        bottleneck,
        groups=groups,
        width_per_group=width_per_group,
        channels=channels,
        name=name,
    )
    return (Layout("torchvision or timm", build, TORCHVISION, "layer1.0.conv1.weight", "fc.weight", imagenet()),)
