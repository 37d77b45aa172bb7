"""Bias correction: the mean error of a channel needs no noise, a bias takes it."""

import numpy as np


def corrected_bias(bias, matrices, mean_before, new, mean_after):
    """The bias with which a layer's outputs keep their means.

    `b' = b + W E[x] - W' E[x']` for each channel.

    Args:
        bias: array `(channels,)`.
        matrices, new: arrays `(parts, filters of a part, taps)` (`Taps.matrices`): the weights before and after.
        mean_before, mean_after: arrays `(parts, taps)`: of what the taps are multiplied by, before and after.

    Returns: array `(channels,)`.
    Source: Nagel et al. 2019, arXiv:1906.04721, section 4.2, with the means measured (their appendix D).
    """
    wanted = np.einsum("pft,pt->pf", matrices, mean_before)
    return bias + (wanted - np.einsum("pft,pt->pf", new, mean_after)).reshape(-1)
