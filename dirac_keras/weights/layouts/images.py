"""What images the networks were trained on, as the libraries' own evaluation prepares them."""

from dirac_keras.weights.layout import Preprocessing

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's training images, in units of 0 to 1


def imagenet(side=224, resize=256):
    """ImageNet in PyTorch's and timm's units."""
    mean, std = (tuple(255 * value for value in values) for values in (_MEAN, _STD))
    return Preprocessing("imagenet2012", mean, std, (side, side), resize)


# The DiracNet and the Wide ResNet authors' code, and pytorchcv.
AUTHORS_CIFAR = Preprocessing("cifar10", (125.3, 123.0, 113.9), (63.0, 62.1, 66.7), (32, 32))
PYTORCHCV_CIFAR = Preprocessing(
    "cifar10",
    tuple(255 * v for v in (0.4914, 0.4822, 0.4465)),
    tuple(255 * v for v in (0.2023, 0.1994, 0.2010)),
    (32, 32),
)


# `efficientnet_lite_builder.py`: MEAN_RGB and STDDEV_RGB; the crop leaves out 32 pixels.
def efficientnet_lite(side):
    """ImageNet as EfficientNet-Lite takes it."""
    return Preprocessing("imagenet2012", (127.0,) * 3, (128.0,) * 3, (side, side), side + 32)
