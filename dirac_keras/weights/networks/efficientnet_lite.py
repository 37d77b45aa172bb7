"""EfficientNet-Lite: inverted residual blocks with ReLU6, without squeeze and excitation."""

import math

import keras

# Repeats, kernel, stride of the first, expansion, channels of each group, of Lite0.
BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Width, depth, pixels on each side, dropout.
SIZES = {0: (1.0, 1.0, 224, 0.2), 1: (1.0, 1.1, 240, 0.2), 2: (1.1, 1.2, 260, 0.3), 3: (1.2, 1.4, 280, 0.3)}
SIZES[4] = (1.4, 1.8, 300, 0.3)
STEM, HEAD = 32, 1280  # not scaled


def build_efficientnet_lite(size, num_classes, input_shape, blocks=BLOCKS, stem=STEM, head=HEAD):
    """EfficientNet-Lite0 to 4.

    Args:
        size: int, 0 to 4.
        num_classes: int.
        input_shape: `(height, width, channels)`; a side may be None.
        blocks: sequence of `(repeats, kernel size, strides, expansion, channels)` for width and depth of 1.
        stem, head: int, channels of the first and the last convolution.

    Returns: `keras.Model`; layers are named `conv1`, `block1_expand`, `block1_depthwise`, `block1_project`, ...,
        `head_conv`, `head_dense`. Convolutions are padded as TensorFlow pads, for which they were trained.
    Source: Tan & Le 2019, arXiv:1905.11946; `efficientnet_lite_builder.py` of the authors' repository.
    """
    width, depth, _, dropout = SIZES[size]
    inputs = keras.Input(input_shape, name="images")
    x = _conv_norm(inputs, stem, 3, 2, "conv1", activate=True)
    number = 0
    for index, (repeats, kernel_size, strides, expansion, channels) in enumerate(blocks):
        is_fixed = index in (0, len(blocks) - 1)
        for repeat in range(repeats if is_fixed else math.ceil(depth * repeats)):
            number += 1
            own = strides if repeat == 0 else 1
            x = _block(x, kernel_size, own, expansion, _rounded(channels, width), f"block{number}")
    x = _conv_norm(x, head, 1, 1, "head_conv", activate=True)
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    outputs = keras.layers.Dense(num_classes, name="head_dense")(x)
    return keras.Model(inputs, outputs, name=f"efficientnet_lite{size}")


def _block(x, kernel_size, strides, expansion, channels, name):
    y = x
    if expansion != 1:
        y = _conv_norm(y, x.shape[-1] * expansion, 1, 1, f"{name}_expand", activate=True)
    y = keras.layers.DepthwiseConv2D(
        kernel_size, strides=strides, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(y)
    y = _norm(y, f"{name}_depthwise", activate=True)
    y = _conv_norm(y, channels, 1, 1, f"{name}_project", activate=False)
    return keras.layers.Add(name=f"{name}_add")([x, y]) if strides == 1 and x.shape[-1] == channels else y


def _conv_norm(x, filters, kernel_size, strides, name, activate):
    x = keras.layers.Conv2D(filters, kernel_size, strides=strides, padding="same", use_bias=False, name=name)(x)
    return _norm(x, name, activate)


def _norm(x, name, activate):
    x = keras.layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


def _rounded(channels, width, divisor=8):
    """Channels times width, a multiple of 8 and at least 90 % of it."""
    scaled = channels * width
    rounded = max(divisor, int(scaled + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * scaled else rounded
