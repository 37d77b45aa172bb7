"""The kernel of merged branches, written into the rule of their host."""

import numpy as np

from dirac_keras.folding.rules import DenseRule, DepthwiseConvRule, EinsumDenseRule


def put_kernel(layer, rule, frame, kernel, bias, groups):
    """Gives the rule of a layer the kernel of all branches, and what its configuration has to say of it.

    Args:
        layer: of Keras.
        rule: its rule, changed in place.
        frame: `Frame` of the kernel.
        kernel: float64 array `(*taps, in_channels // groups, out_channels)`.
        bias: float64 array `(out_channels,)`.
        groups: int.
    """
    kernel = kernel[tuple(slice(None, None, rate) for rate in frame.dilation)]
    if isinstance(rule, EinsumDenseRule):
        rule.set_dense(kernel.reshape(kernel.shape[-2:]), bias)
        return
    if isinstance(rule, DenseRule):
        rule.kernel = kernel.reshape(kernel.shape[-2:])
        rule.overrides = {"units": kernel.shape[-1]}
    elif isinstance(rule, DepthwiseConvRule):
        channels = layer.kernel.shape[-2]
        rule.kernel = kernel.reshape(*kernel.shape[:-2], channels, -1)
        rule.overrides = {"kernel_size": list(kernel.shape[:-2])}
    else:
        rule.kernel = kernel
        rule.overrides = {"kernel_size": list(kernel.shape[:-2]), "filters": kernel.shape[-1], "groups": groups}
    if frame.is_new:
        rule.overrides |= {"padding": "same", "dilation_rate": [1] * len(frame.taps)}
    if rule.bias is not None or np.any(bias != 0.0):
        rule.bias = bias
    rule.has_new_kernel = True
