"""A tensor of another library as a weight of Keras: which shapes fit, and how the axes turn.

PyTorch has images as (channels, height, width) and kernels as (out, in, height, width); Keras has the channels last.
"""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Conversion:
    """How a weight comes from a tensor.

    Attributes:
        shapes: function, shape of the weight -> list of the shapes that a tensor may have, the usual one first.
        convert: function `(array, shape of the weight) -> array` of that shape.
    """

    shapes: Callable
    convert: Callable


def _kernel_shapes(shape):
    height, width, inputs, filters = shape
    # As a convolution, or as the dense layer on flattened features that VGG's classifier begins with.
    return [(filters, inputs, height, width), (filters, inputs * height * width)]


def _kernel(array, shape):
    height, width, inputs, filters = shape
    return array.reshape(filters, inputs, height, width).transpose(2, 3, 1, 0)


def _depthwise_shapes(shape):
    height, width, channels, multiplier = shape
    return [(channels * multiplier, 1, height, width)]


def _depthwise(array, shape):
    height, width, channels, multiplier = shape
    return array.reshape(channels, multiplier, height, width).transpose(2, 3, 0, 1)


SAME = Conversion(lambda shape: [shape], lambda array, shape: array)
KERNEL = Conversion(_kernel_shapes, _kernel)
DEPTHWISE = Conversion(_depthwise_shapes, _depthwise)
# A dense layer, or a 1x1 convolution on pooled features.
DENSE = Conversion(
    lambda shape: [shape[::-1], (*shape[::-1], 1, 1)], lambda array, shape: array.reshape(shape[::-1]).transpose()
)
# One number a filter; the DiracNet authors' code had one for all filters before April 2018.
SCALE = Conversion(
    lambda shape: [shape, (*shape, 1, 1, 1), (1,)],
    lambda array, shape: np.broadcast_to(array.reshape(-1), shape),
)

_VECTOR = {"bias": ("bias", SAME)}
# Class of a layer -> its weights -> ending of the tensor's name, conversion.
PYTORCH = {
    "BatchNormalization": {
        "gamma": ("weight", SAME),
        "beta": ("bias", SAME),
        "moving_mean": ("running_mean", SAME),
        "moving_variance": ("running_var", SAME),
    },
    "Conv2D": {"kernel": ("weight", KERNEL), **_VECTOR},
    "DiracConv2D": {
        "kernel": ("weight", KERNEL),
        "identity_scale": ("alpha", SCALE),
        "filter_scale": ("beta", SCALE),
        **_VECTOR,
    },
    "DepthwiseConv2D": {"kernel": ("weight", DEPTHWISE), **_VECTOR},
    "Dense": {"kernel": ("weight", DENSE), **_VECTOR},
}
KERAS = {
    name: {"kernel": ("kernel", SAME), "bias": ("bias", SAME)} for name in ("Conv2D", "DepthwiseConv2D", "Dense")
} | {"BatchNormalization": {weight: (weight, SAME) for weight in ("gamma", "beta", "moving_mean", "moving_variance")}}
