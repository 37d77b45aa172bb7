"""Residual blocks and the chains made of them; the caller says how skip and residual are joined, or that they are not.

A `join` is a function `(skip, residual, name) -> tensor` of two tensors of the same shape: `add_skip` for a ResNet.
None leaves the skip out, and its projection with it: the plain network. A `conv` is a function `(x, channels,
kernel_size, strides, name) -> tensor` that makes one convolution without bias, a `dense` one `(x, units, name)`, a
`norm` a normalization class that lacks its name alone.
"""

import functools

import keras

from dirac_keras.layers import DiracConv2D, DiracDense
from dirac_keras.models.blocks import EPSILON, MOMENTUM, even_conv, fresh_initializer


def add_skip(skip, residual, name):
    """`F(x) + x`: a ResNet's join."""
    return keras.layers.Add(name=f"{name}_add")([skip, residual])


def basic_block(x, channels, name, conv, norm, join=add_skip, strides=1, preactivate=True):
    """BN, ReLU, 3x3 convolution, twice, and the skip around them.

    Args:
        x: `(batch, height, width, in_channels)`.
        channels: int, outputs.
        name: of the block, before the names of its layers.
        conv, norm, join: see above.
        strides: int, of the first convolution.
        preactivate: bool, whether the block begins with BN and ReLU; a first block behind them has none of its own.

    Returns: tensor `(batch, height / strides, width / strides, channels)`.
    Source: He et al. 2016, arXiv:1603.05027, figure 4 (e) and appendix; where the shape changes, the skip is a 1x1
        convolution of the pre-activated input, as in the code of Wide ResNets and in eq. 1 of VAN.
    """
    activated = _norm_relu(x, f"{name}_bn1", f"{name}_relu1", norm) if preactivate else x
    residual = conv(activated, channels, 3, strides, f"{name}_conv1")
    residual = _norm_relu(residual, f"{name}_bn2", f"{name}_relu2", norm)
    residual = conv(residual, channels, 3, 1, f"{name}_conv2")
    if join is None:
        return residual
    changes_shape = strides != 1 or x.shape[-1] != channels
    skip = conv(activated, channels, 1, strides, f"{name}_projection") if changes_shape else x
    return join(skip, residual, name)


def residual_groups(x, channels, num_blocks, conv, norm, join=add_skip, preactivate_first=False):
    """Groups of `num_blocks[g]` basic blocks of `channels[g]`, halved in size from group to group, then BN and ReLU.

    Args:
        x: `(batch, height, width, in_channels)`, behind BN and ReLU unless `preactivate_first`.
        channels, num_blocks: sequences of int, one a group.

    Returns: tensor `(batch, height / 2**(groups - 1), ..., channels[-1])`. Layers are named `group1_block1_conv1`, ...
    """
    for group, (group_channels, blocks) in enumerate(zip(channels, num_blocks, strict=True), start=1):
        for block in range(1, blocks + 1):
            is_first = group == block == 1
            x = basic_block(
                x,
                group_channels,
                f"group{group}_block{block}",
                conv,
                norm,
                join,
                strides=2 if block == 1 and group > 1 else 1,
                preactivate=preactivate_first or not is_first,
            )
    return _norm_relu(x, "head_bn", "head_relu", norm)


def dense_blocks(x, units, num_blocks, dense, norm, join=add_skip):
    """A dense layer, `num_blocks` blocks of BN, ReLU, dense layer and the skip around them, then BN and ReLU.

    Args:
        x: `(batch, features)`.
        units: int, of every layer.

    Returns: tensor `(batch, units)`. Layers are named `dense1`, `block1_bn`, `block1_relu`, `block1_dense`, ...
    Source: Monti et al. (VAN), section 4.1: a plain layer, then residual functions of BN, ReLU and a linear projection.
    """
    x = ordinary_dense()(x, units, "dense1")  # the inputs are no units of the network's: no identity to start from
    for block in range(1, num_blocks + 1):
        name = f"block{block}"
        residual = dense(_norm_relu(x, f"{name}_bn", f"{name}_relu", norm), units, f"{name}_dense")
        x = residual if join is None else join(x, residual, name)
    return _norm_relu(x, "head_bn", "head_relu", norm)


def normalization_factory(normalization):
    """`norm` of a normalization class, with the families' epsilon and momentum."""
    return functools.partial(normalization, epsilon=EPSILON, momentum=MOMENTUM)


def ordinary_conv(kernel_initializer=None):
    """`conv` of Keras' convolutions; None starts them He-normal."""
    return functools.partial(even_conv, kernel_initializer=kernel_initializer or "he_normal")


def ordinary_dense(kernel_initializer=None):
    """`dense` of Keras' dense layers; None starts them He-normal."""

    def dense(x, units, name):
        return keras.layers.Dense(
            units, kernel_initializer=fresh_initializer(kernel_initializer or "he_normal"), name=name
        )(x)

    return dense


def start_of_sigma(sigma, kernel_initializer=None):
    """Initializer of `W` in eq. 8 of DiracNets, whatever the filter's shape: N(0, sigma^2), or a random orthogonal
    matrix times sigma for `kernel_initializer="orthogonal"`.
    """
    if kernel_initializer is None:
        return keras.initializers.RandomNormal(stddev=sigma)
    return keras.initializers.Orthogonal(gain=sigma)


def dirac_conv(sigma, kernel_initializer=None):
    """`conv` of eq. 8 of DiracNets, `W_hat = I + W` with `W` as `start_of_sigma` gives it.

    A strided one is the convolution at every pixel and then every second pixel, exactly; a 1x1 one skips them first.
    """

    def conv(x, channels, kernel_size, strides, name):
        if kernel_size == 1:
            x = _subsample(x, strides, name)
        x = DiracConv2D(
            channels,
            kernel_size,
            padding="same",
            use_bias=False,
            use_identity_scale=False,
            use_weight_norm=False,
            kernel_initializer=start_of_sigma(sigma, kernel_initializer),
            name=name,
        )(x)
        return x if kernel_size == 1 else _subsample(x, strides, name)

    return conv


def dirac_dense(sigma, kernel_initializer=None):
    """`dense` of eq. 8 of DiracNets, `I + W`."""

    def dense(x, units, name):
        return DiracDense(
            units,
            use_identity_scale=False,
            use_weight_norm=False,
            kernel_initializer=start_of_sigma(sigma, kernel_initializer),
            name=name,
        )(x)

    return dense


def _subsample(x, strides, name):
    if strides == 1:
        return x
    return keras.layers.AveragePooling2D(1, strides=strides, name=f"{name}_subsample")(x)


def _norm_relu(x, norm_name, relu_name, norm):
    return keras.layers.ReLU(name=relu_name)(norm(name=norm_name)(x))
