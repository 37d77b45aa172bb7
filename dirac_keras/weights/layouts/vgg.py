"""VGG of torchvision and timm, with BatchNormalization or without.

Both number the layers of the features in a row; the classifier is of dense layers in torchvision, of convolutions in
timm. Flattened features are (channels, height, width) in PyTorch, so the first dense layer is a convolution's kernel.

Source: `torchvision/models/vgg.py` 0.14 and 0.29, `timm/models/vgg.py` 0.6 and 1.0.
"""

import functools

from dirac_keras.models.vgg import CHANNELS
from dirac_keras.weights.layout import Layout
from dirac_keras.weights.layouts.images import imagenet
from dirac_keras.weights.networks.vgg import build_imagenet_vgg, positions_of_features

CLASSIFIERS = {
    "torchvision": {"head_conv1": "classifier.0", "head_conv2": "classifier.3", "head_dense": "classifier.6"},
    "timm": {"head_conv1": "pre_logits.fc1", "head_conv2": "pre_logits.fc2", "head_dense": "head.fc"},
}
NETWORKS = {
    f"vgg{depth}{'_bn' if batch_norm else ''}": (depth, batch_norm)
    for depth in (11, 13, 16, 19)
    for batch_norm in (False, True)
}


def layouts(depth, batch_norm, channels=CHANNELS, units=4096, window=7):
    """Both layouts of such a network; arguments as in `build_imagenet_vgg`."""
    build = functools.partial(build_imagenet_vgg, depth, batch_norm, channels=channels, units=units, window=window)
    features = {layer: f"features.{index}" for layer, index in positions_of_features(depth, batch_norm).items()}
    return tuple(
        Layout(
            source,
            build,
            {**features, **classifier},
            f"{classifier['head_conv1']}.weight",
            f"{classifier['head_dense']}.weight",
            imagenet(),
        )
        for source, classifier in CLASSIFIERS.items()
    )
