"""Residual blocks of every kind, small, with weights moved off their start."""

import keras
from keras import layers

from tests.folding.helpers import randomize


def conv(x, filters, kernel_size=3, strides=1, activation=None, padding="same", kind=layers.Conv2D, **arguments):
    """Convolution, BatchNormalization and activation."""
    first = () if kind is layers.DepthwiseConv2D else (filters,)
    x = kind(*first, kernel_size, strides=strides, padding=padding, use_bias=False, **arguments)(x)
    x = layers.BatchNormalization()(x)
    return x if activation is None else activation()(x)


def padded_conv(x, filters, strides, activation=None):
    """3x3, padded evenly by hand where it has strides."""
    if strides == 1:
        return conv(x, filters, activation=activation)
    return conv(layers.ZeroPadding2D(1)(x), filters, 3, strides, activation, "valid")


def shortcut(x, filters, strides):
    return x if strides == 1 and x.shape[-1] == filters else conv(x, filters, 1, strides)


def basic(x, filters=4, strides=1, activation=layers.ReLU):
    y = conv(padded_conv(x, filters, strides, activation), filters)
    return activation()(layers.Add()([y, shortcut(x, filters, strides)]))


def bottleneck(x, middle, filters, strides=1, groups=1):
    y = conv(x, middle, 1, strides, layers.ReLU)
    y = conv(conv(y, middle, activation=layers.ReLU, groups=groups), filters, 1)
    return layers.ReLU()(layers.Add()([y, shortcut(x, filters, strides)]))


def pooled_shortcut(x, middle, filters):
    """A downsampling block of ResNet-D."""
    y = padded_conv(conv(x, middle, 1, activation=layers.ReLU), middle, 2, layers.ReLU)
    return layers.ReLU()(layers.Add()([conv(y, filters, 1), conv(layers.AveragePooling2D(2)(x), filters, 1)]))


def inverted(x, activation):
    """A block of MobileNetV2: no activation behind its last convolution, so its sum has any sign."""
    channels = x.shape[-1]
    y = conv(x, 3 * channels, 1, activation=activation)
    y = conv(y, None, 3, activation=activation, kind=layers.DepthwiseConv2D)
    return layers.Add()([x, conv(y, channels, 1)])


def preactivated(x, filters, strides=1):
    activated = layers.ReLU()(layers.BatchNormalization()(x))
    around = layers.ZeroPadding2D(1)(activated) if strides > 1 else activated
    y = layers.Conv2D(filters, 3, strides=strides, padding="valid" if strides > 1 else "same")(around)
    y = layers.Conv2D(filters, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(y)))
    skip = x if strides == 1 and x.shape[-1] == filters else layers.Conv2D(filters, 1, strides=strides)(activated)
    return layers.Add()([skip, y])


def network(block, shape=(8, 6, 3), activation=layers.ReLU, dtype=None):
    """A convolution with ReLU, the block, and a head that sees where every pixel is."""
    with_policy = keras.config.dtype_policy().name
    keras.config.set_dtype_policy(dtype or with_policy)
    try:
        inputs = keras.Input(shape)
        x = block(conv(inputs, 4, activation=activation))
        flat = layers.Flatten()(x) if None not in shape else layers.GlobalAveragePooling2D()(x)
        return randomize(keras.Model(inputs, layers.Dense(3)(flat)))
    finally:
        keras.config.set_dtype_policy(with_policy)
