"""RepVGG of timm and of its authors, with its branches or merged.

Source: `timm/models/byobnet.py` 0.6 and 1.0; `repvgg.py` of github.com/DingXiaoH/RepVGG.
"""

import functools

from dirac_keras.weights.layout import Layout
from dirac_keras.weights.layouts.images import imagenet
from dirac_keras.weights.networks.repvgg import build_repvgg

TIMM = {
    "stem_conv3": "stem.conv_kxk.conv",
    "stem_conv3_bn": "stem.conv_kxk.bn",
    "stem_conv1": "stem.conv_1x1.conv",
    "stem_conv1_bn": "stem.conv_1x1.bn",
    "group{g}_block{b}_conv3": "stages.{g-1}.{b-1}.conv_kxk.conv",
    "group{g}_block{b}_conv3_bn": "stages.{g-1}.{b-1}.conv_kxk.bn",
    "group{g}_block{b}_conv1": "stages.{g-1}.{b-1}.conv_1x1.conv",
    "group{g}_block{b}_conv1_bn": "stages.{g-1}.{b-1}.conv_1x1.bn",
    "group{g}_block{b}_identity_bn": "stages.{g-1}.{b-1}.identity",
    "head_dense": "head.fc",
}
TIMM_MERGED = {
    "stem_conv3": "stem.reparam_conv",
    "group{g}_block{b}_conv3": "stages.{g-1}.{b-1}.reparam_conv",
    "head_dense": "head.fc",
}
AUTHORS = {
    "stem_conv3": "stage0.rbr_dense.conv",
    "stem_conv3_bn": "stage0.rbr_dense.bn",
    "stem_conv1": "stage0.rbr_1x1.conv",
    "stem_conv1_bn": "stage0.rbr_1x1.bn",
    "group{g}_block{b}_conv3": "stage{g}.{b-1}.rbr_dense.conv",
    "group{g}_block{b}_conv3_bn": "stage{g}.{b-1}.rbr_dense.bn",
    "group{g}_block{b}_conv1": "stage{g}.{b-1}.rbr_1x1.conv",
    "group{g}_block{b}_conv1_bn": "stage{g}.{b-1}.rbr_1x1.bn",
    "group{g}_block{b}_identity_bn": "stage{g}.{b-1}.rbr_identity",
    "head_dense": "linear",
}
AUTHORS_MERGED = {
    "stem_conv3": "stage0.rbr_reparam",
    "group{g}_block{b}_conv3": "stage{g}.{b-1}.rbr_reparam",
    "head_dense": "linear",
}
_A, _B = (2, 4, 14, 1), (4, 6, 16, 1)  # blocks of each group
# Name -> blocks, factors on 64, 128, 256, 512 channels, channels of the stem, groups.
NETWORKS = {
    "repvgg_a0": (_A, (0.75, 0.75, 0.75, 2.5), 48, 1),
    "repvgg_a1": (_A, (1, 1, 1, 2.5), 64, 1),
    "repvgg_a2": (_A, (1.5, 1.5, 1.5, 2.75), 64, 1),
    "repvgg_b0": (_B, (1, 1, 1, 2.5), 64, 1),
    "repvgg_b1": (_B, (2, 2, 2, 4), 64, 1),
    "repvgg_b1g4": (_B, (2, 2, 2, 4), 64, 4),
    "repvgg_b2": (_B, (2.5, 2.5, 2.5, 5), 64, 1),
    "repvgg_b2g4": (_B, (2.5, 2.5, 2.5, 5), 64, 4),
    "repvgg_b3": (_B, (3, 3, 3, 5), 64, 1),
    "repvgg_b3g4": (_B, (3, 3, 3, 5), 64, 4),
}


def layouts(num_blocks, factors, stem, groups, channels=64, name=None):
    """The four layouts of such a network.

    Args:
        num_blocks: sequence of int, blocks of each group.
        factors: sequence of numbers, on `channels`, twice, four and eight times as many.
        stem: int, channels of the stem.
        groups: int, of the convolutions in every second block.
    """
    filters = tuple(int(channels * 2**group * factor) for group, factor in enumerate(factors))
    build = functools.partial(build_repvgg, num_blocks, filters, stem, groups=groups, name=name)
    merged = functools.partial(build, merged=True)
    return (
        Layout("timm", build, TIMM, "stem.conv_kxk.conv.weight", "head.fc.weight", imagenet()),
        Layout("timm, merged", merged, TIMM_MERGED, "stem.reparam_conv.weight", "head.fc.weight", imagenet()),
        Layout("the authors", build, AUTHORS, "stage0.rbr_dense.conv.weight", "linear.weight", imagenet()),
        Layout("the authors, merged", merged, AUTHORS_MERGED, "stage0.rbr_reparam.weight", "linear.weight", imagenet()),
    )
