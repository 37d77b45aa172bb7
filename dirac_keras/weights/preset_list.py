"""The presets: a name for a network of a paper, as data. One without a file has no published weights."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Preset:
    """A network by name.

    Attributes:
        builder: str, function of `dirac_keras.models`, or None: `architecture` alone says what is built.
        arguments: dict, of the builder.
        text: str, what it is.
        architecture: str, the name under which other libraries' weights of it are imported; None if there are none.
        file: str, the published file; None if nobody has published weights.
        sha256: str, what the checksum of the file begins with.
        source: str, where the file is published.
    """

    builder: str | None
    arguments: Mapping
    text: str
    architecture: str | None = None
    file: str | None = None
    sha256: str | None = None
    source: str | None = None


_AUTHORS = "https://github.com/szagoruyko/diracnets, README, pretrained models"


def _imagenet(depth, file=None):
    arguments = {"depth": depth, "num_classes": 1000, "input_shape": (224, 224, 3), "layout": "imagenet"}
    text = f"DiracNet-{depth} for ImageNet (arXiv:1706.00388, table 3), with its Dirac kernels"
    return Preset("build_diracnet", arguments, text, f"diracnet{depth}", file, None, _AUTHORS)


def _folded(depth, digest):
    text = f"DiracNet-{depth} for ImageNet, folded: a chain of convolutions and ReLUs"
    file = f"diracnet{depth}v2folded-{digest}.pth"
    return Preset(None, {}, text, f"diracnet{depth}", file, digest, _AUTHORS)


def _cifar(kind, depth, width, paper):
    name = {"diracnet": "DiracNet", "wide_resnet": "Wide ResNet"}[kind]
    text = f"{name}-{depth}-{width} for CIFAR-10 ({paper})"
    return Preset(f"build_{kind}", {"depth": depth, "width": width}, text, f"{kind}_{depth}_{width}_cifar")


PRESETS = {
    "diracnet_28_5_cifar": _cifar("diracnet", 28, 5, "arXiv:1706.00388, table 2"),
    "diracnet_28_10_cifar": _cifar("diracnet", 28, 10, "arXiv:1706.00388, table 2"),
    "diracnet_34_1_cifar": _cifar("diracnet", 34, 1, "arXiv:1706.00388"),
    "diracnet_34_2_cifar": _cifar("diracnet", 34, 2, "the authors' README"),
    "diracnet_18_imagenet": _imagenet(18, "diracnet18-v2_checkpoint.pth"),
    "diracnet_34_imagenet": _imagenet(34, "diracnet34-v2_checkpoint.pth"),
    "diracnet_18_imagenet_folded": _folded(18, "a2174e15"),
    "diracnet_34_imagenet_folded": _folded(34, "dfb15d34"),
    "wide_resnet_28_10_cifar": _cifar("wide_resnet", 28, 10, "arXiv:1605.07146, table 4"),
    "wide_resnet_40_4_cifar": _cifar("wide_resnet", 40, 4, "arXiv:1605.07146, table 4"),
    "resnet_20_cifar": Preset(
        "build_resnet", {"depth": 20}, "pre-activation ResNet-20 for CIFAR-10 (arXiv:1603.05027)"
    ),
    "resnet_110_cifar": Preset(
        "build_resnet", {"depth": 110}, "pre-activation ResNet-110 for CIFAR-10 (arXiv:1603.05027)"
    ),
}
