"""DiracNets: of their authors, folded and not, of pytorchcv and of tf2cv.

Source: github.com/szagoruyko/diracnets, `diracnet.py`, `train.py`, `diracnet-export.ipynb`; `diracnetv2.py` of
pytorchcv 0.0.74 and tf2cv 0.0.18.
"""

import functools
import re

import numpy as np
from keras import ops

from dirac_keras.kernels import identity_kernel
from dirac_keras.layers import DiracConv2D
from dirac_keras.models.diracnet import build_diracnet
from dirac_keras.weights.conversions import KERAS
from dirac_keras.weights.layout import COUNTERS, Layout
from dirac_keras.weights.layouts.images import AUTHORS_CIFAR, imagenet
from dirac_keras.weights.networks.folded_diracnet import build_folded_diracnet

SMALLEST_NORM = 1e-12  # `F.normalize` divides by no less
_CONSTANTS = r"eye\d+(_\d+)*"  # the identities, which the authors' code keeps beside the weights

FOLDED = {
    "conv1": "features.conv",
    "group{g}_block{b}_conv": "features.group{g-1}.block{b-1}.conv",
    "head_dense": "fc",
}
UNFOLDED = {
    "conv1": {"kernel": "conv"},
    "conv1_bn": "bn",
    "group{g}_block{b}_conv": {
        "kernel": "group{g-1}.block{b-1}.conv",
        "identity_scale": "group{g-1}.block{b-1}.alpha",
        "filter_scale": "group{g-1}.block{b-1}.beta",
    },
    "group{g}_block{b}_bn": "group{g-1}.block{b-1}.bn",
    "head_dense": "fc",
}
PYTORCHCV = {
    "conv1": "features.init_block.conv",
    "group{g}_block{b}_conv": "features.stage{g}.unit{b}.conv",
    "head_dense": "output",
}
TF2CV = {
    "conv1": "features/init_block/conv/conv",
    "group{g}_block{b}_conv": "features/stage{g}/unit{b}/conv/conv",
    "head_dense": "output1",
}


def imagenet_layouts(depth, channels=64):
    """Every layout of a DiracNet for ImageNet.

    Args:
        depth: int, 18 or 34.
        channels: int, of the first group: 64 in the networks that were published.
    """
    folded = functools.partial(build_folded_diracnet, depth, channels=channels)
    common = {"preprocessing": imagenet()}
    return (
        Layout("the authors, folded", folded, FOLDED, "features.conv.weight", "fc.weight", **common),
        _unfolded(depth, channels / 64, "imagenet", imagenet(), functools.partial(_build_imagenet, depth, channels)),
        Layout("pytorchcv", folded, PYTORCHCV, "features.init_block.conv.weight", "output.weight", **common),
        Layout(
            "tf2cv",
            folded,
            TF2CV,
            "features/init_block/conv/conv/kernel",
            "output1/kernel",
            endings=KERAS,
            classes_axis=-1,
            rename=_of_tf2cv,
            **common,
        ),
    )


def cifar_layouts(depth, width):
    """The layout of a DiracNet for CIFAR, of the authors' training."""

    def build(num_classes, input_shape):
        return build_diracnet(depth, width, num_classes, input_shape)

    return (_unfolded(depth, width, "cifar", AUTHORS_CIFAR, build),)


def _unfolded(depth, width, layout, preprocessing, build):
    network = {"family": "diracnet", "depth": depth, "layout": layout, "width": width, "parameterization": "dirac"}
    return Layout(
        "the authors, not folded",
        build,
        UNFOLDED,
        "group0.block0.alpha",
        "fc.weight",
        preprocessing,
        ignored=(COUNTERS, _CONSTANTS),
        check=_wrong_identities,
        finish=_keep_small_filters,
        network=network,
    )


def _build_imagenet(depth, channels, num_classes, input_shape):
    if channels == 64:
        return build_diracnet(depth, 1, num_classes, input_shape, layout="imagenet")
    raise ValueError(f"there is no unfolded DiracNet of {channels} channels in the first group")


def _wrong_identities(constants):
    """What is wrong with the identities of a file: those of the layers are made anew."""
    for name, value in constants.items():
        if re.fullmatch(_CONSTANTS, name) is None:
            continue
        is_kernel = value.ndim == 4 and all(side % 2 for side in value.shape[2:])
        turned = (value.shape[2], value.shape[3], value.shape[1], value.shape[0]) if is_kernel else ()
        if not is_kernel or not np.array_equal(value.transpose(2, 3, 1, 0), identity_kernel(turned)):
            return f"{name} is no identity of convolution, so the network is not that of the paper."
    return None


def _keep_small_filters(model):
    """Let `b` hold what `F.normalize` leaves of a filter shorter than it divides by; our norm is the norm."""
    for layer in model.layers:
        if not isinstance(layer, DiracConv2D):
            continue
        kernel = ops.convert_to_numpy(layer.kernel).astype("float64")
        norms = np.sqrt((kernel**2).sum((0, 1, 2)))
        if np.any(norms < SMALLEST_NORM):
            scale = ops.convert_to_numpy(layer.filter_scale) * np.minimum(1.0, norms / SMALLEST_NORM)
            layer.filter_scale.assign(scale)


def _of_tf2cv(name):
    """The name from the last `features` or `output1` on: Keras 2 puts group and model before it."""
    parts = name.split("/")
    starts = [index for index, part in enumerate(parts) if part in ("features", "output1")]
    return "/".join(parts[starts[-1] :]) if starts else name
