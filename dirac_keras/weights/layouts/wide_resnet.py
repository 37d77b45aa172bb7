"""Wide ResNets for CIFAR, of their authors and of pytorchcv.

Source: github.com/szagoruyko/wide-residual-networks, `pytorch/resnet.py`; `wrn_cifar.py` of pytorchcv 0.0.74.
"""

from dirac_keras.models.wide_resnet import build_wide_resnet
from dirac_keras.weights.layout import Layout
from dirac_keras.weights.layouts.images import AUTHORS_CIFAR, PYTORCHCV_CIFAR

AUTHORS = {
    "conv1": {"kernel": "conv0"},
    "group{g}_block{b}_bn{c}": "group{g-1}.block{b-1}.bn{c-1}",
    "group{g}_block{b}_conv{c}": {"kernel": "group{g-1}.block{b-1}.conv{c-1}"},
    "group{g}_block{b}_projection": {"kernel": "group{g-1}.block{b-1}.convdim"},
    "head_bn": "bn",
    "head_dense": "fc",
}
PYTORCHCV = {
    "conv1": "features.init_block",
    "group{g}_block{b}_bn{c}": "features.stage{g}.unit{b}.body.conv{c}.bn",
    "group{g}_block{b}_conv{c}": "features.stage{g}.unit{b}.body.conv{c}.conv",
    "group{g}_block{b}_projection": "features.stage{g}.unit{b}.identity_conv",
    "head_bn": "features.post_activ.bn",
    "head_dense": "output",
}


def layouts(depth, width):
    """Both layouts of a Wide ResNet; arguments as in `build_wide_resnet`."""

    def build(num_classes, input_shape):
        return build_wide_resnet(depth, width, num_classes, input_shape)

    network = {"family": "wide_resnet", "depth": depth, "width": width}
    return (
        Layout("the authors", build, AUTHORS, "group0.block0.bn0.weight", "fc.weight", AUTHORS_CIFAR, network=network),
        Layout(
            "pytorchcv",
            build,
            PYTORCHCV,
            "features.init_block.weight",
            "output.weight",
            PYTORCHCV_CIFAR,
            network=network,
        ),
    )
