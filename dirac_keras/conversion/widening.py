"""Windows with more channels: carried ones beside, below or apart from a convolution's own."""

import dataclasses

import numpy as np

from dirac_keras.folding.branches.window import Window


def one_tap(matrix, bias, rank):
    """The `Window` of a 1x1 convolution; `matrix` is `(in, out)`."""
    ones = (1,) * rank
    return Window(matrix.reshape(*ones, *matrix.shape), bias, ones, (0,) * rank, False)


def ungrouped(window):
    """The same window with one group, zeros between the channels of different ones."""
    if window.groups == 1:
        return window
    size, out = window.kernel.shape[-2], window.channels[1] // window.groups
    kernel = np.zeros((*window.taps, *window.channels))
    for group in range(window.groups):
        outputs = slice(group * out, (group + 1) * out)
        kernel[..., group * size : (group + 1) * size, outputs] = window.kernel[..., outputs]
    return dataclasses.replace(window, kernel=kernel, groups=1)


def beside(window, tap, matrix):
    """More outputs: `matrix`, `(in, more)`, of the input at one tap."""
    more = np.zeros((*window.taps, window.kernel.shape[-2], matrix.shape[1]))
    more[tap] = matrix
    return dataclasses.replace(window, kernel=np.concatenate([window.kernel, more], axis=-1))


def below(window, matrices):
    """More inputs: `{tap: (more, out)}`."""
    (count, out) = next(iter(matrices.values())).shape
    more = np.zeros((*window.taps, count, out))
    for tap, matrix in matrices.items():
        more[tap] += matrix
    return dataclasses.replace(window, kernel=np.concatenate([window.kernel, more], axis=-2))


def block(window, tap, matrix):
    """More inputs and outputs apart from the others: `matrix`, `(more in, more out)`, at one tap."""
    own_in, own_out = window.channels
    kernel = np.zeros((*window.taps, own_in + matrix.shape[0], own_out + matrix.shape[1]))
    kernel[..., :own_in, :own_out] = window.kernel
    kernel[(*tap, slice(own_in, None), slice(own_out, None))] = matrix
    return dataclasses.replace(window, kernel=kernel)
