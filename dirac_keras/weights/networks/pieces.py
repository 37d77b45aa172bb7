"""Layers with the sides and the padding of PyTorch: even on all sides, where Keras' `same` is not."""

import keras

from dirac_keras.models.blocks import even_conv

EPSILON = 1e-5  # of PyTorch's BatchNormalization
MOMENTUM = 0.9  # PyTorch's 0.1 is one minus it


def conv(x, filters, kernel_size, name, strides=1, groups=1, use_bias=False):
    """A convolution that pads by half its odd kernel: `(batch, h, w, in)` -> `(batch, ceil(h / strides), ..., out)`."""
    return even_conv(x, filters, kernel_size, strides, name, groups=groups, use_bias=use_bias)


def norm(x, name):
    """BatchNormalization with PyTorch's epsilon and momentum."""
    return keras.layers.BatchNormalization(epsilon=EPSILON, momentum=MOMENTUM, name=name)(x)


def norm_relu(x, name):
    """BatchNormalization `NAME_bn` and ReLU `NAME_relu`."""
    return keras.layers.ReLU(name=f"{name}_relu")(norm(x, f"{name}_bn"))


def pool_of_stem(x):
    """3x3 maximum of stride 2, padded with zeros: below a ReLU, or above one, they are the least that counts."""
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name="pool1")(x)


def classifier(x, num_classes):
    """Average over all places, and a dense layer: logits."""
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    return keras.layers.Dense(num_classes, name="head_dense")(x)
