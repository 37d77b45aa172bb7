"""Where kernels start."""

import keras
from keras import ops

from dirac_keras.kernels import identity_kernel


@keras.saving.register_keras_serializable(package="dirac_keras")
class DiracStart(keras.initializers.VarianceScaling):
    """The identity in the first filters of a convolution, random numbers in the others.

    Of `filters` filters the first `min(in_channels, filters)` pass one input channel on each; the others are drawn from
    U(-1/sqrt(n), 1/sqrt(n)) with n the weights of a filter, PyTorch's start of a convolution. The identity is a start
    alone: unlike that of `DiracConv2D` it is trained away.

    Args:
        seed: int, or None.

    Call: shape `(*kernel_size, in_channels, filters)` with odd kernel sizes.
    Source: Jordan 2024, arXiv:2404.00498, section 3.3; Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 1.
    """

    def __init__(self, seed=None):
        super().__init__(scale=1 / 3, mode="fan_in", distribution="uniform", seed=seed)

    def __call__(self, shape, dtype=None):
        drawn = super().__call__(shape, dtype)
        identity = ops.convert_to_tensor(identity_kernel(tuple(shape)), dtype=drawn.dtype)
        is_identity = ops.arange(shape[-1]) < min(shape[-2], shape[-1])  # (filters,)
        return ops.where(is_identity, identity, drawn)

    def get_config(self):
        return {"seed": super().get_config()["seed"]}
