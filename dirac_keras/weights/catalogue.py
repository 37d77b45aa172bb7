"""The networks that weights can be imported for, by name, each with its layouts."""

import functools
import re

from dirac_keras.errors import UserError, did_you_mean
from dirac_keras.weights.layouts import diracnet, efficientnet_lite, repvgg, resnet, vgg, wide_resnet

# Name -> function that gives its layouts.
NETWORKS = {
    **{f"diracnet{depth}": functools.partial(diracnet.imagenet_layouts, depth) for depth in (18, 34)},
    **{name: functools.partial(resnet.layouts, *sizes, name=name) for name, sizes in resnet.NETWORKS.items()},
    **{name: functools.partial(vgg.layouts, *sizes) for name, sizes in vgg.NETWORKS.items()},
    **{name: functools.partial(repvgg.layouts, *sizes, name=name) for name, sizes in repvgg.NETWORKS.items()},
    **{f"efficientnet_lite{size}": functools.partial(efficientnet_lite.layouts, size) for size in range(5)},
}
# Of every depth and width.
CIFAR = {"diracnet": diracnet.cifar_layouts, "wide_resnet": wide_resnet.layouts}
_CIFAR_NAME = re.compile(r"(diracnet|wide_resnet)_(\d+)_(\d+)_cifar")
PATTERNS = ("diracnet_DEPTH_WIDTH_cifar", "wide_resnet_DEPTH_WIDTH_cifar")


def find_layouts(name):
    """The layouts of a network.

    Args:
        name: str, one of `NETWORKS`, or such as `"diracnet_34_2_cifar"`.

    Returns: tuple of `Layout`.
    Raises: ValueError: if there is no such network, with those that there are.
    """
    if isinstance(name, str) and name in NETWORKS:
        return NETWORKS[name]()
    match = _CIFAR_NAME.fullmatch(name) if isinstance(name, str) else None
    if match:
        return CIFAR[match.group(1)](int(match.group(2)), int(match.group(3)))
    known = [*NETWORKS, *PATTERNS]
    close = did_you_mean(name, known)
    raise UserError(f"`architecture` must be one of {', '.join(known)}. Received {name!r}. {close}".rstrip())


def choose_layout(layouts, tensors):
    """Which of the layouts of a network a state dict has: the one whose marker is in it, else the first.

    Returns: `(Layout, dict of tensors under the layout's names)`.
    """
    for layout in layouts:
        named = layout.named(tensors)
        if layout.marker in named:
            return layout, named
    return layouts[0], layouts[0].named(tensors)
