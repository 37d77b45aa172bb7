"""Windows with more channels: carried ones beside, below or apart from a convolution's own."""

import dataclasses

import numpy as np

from dirac_keras.folding.branches.reading import same_padding
from dirac_keras.folding.branches.window import Window
from dirac_keras.folding.refused import Refused
from dirac_keras.folding.rules import ConvRule, DepthwiseConvRule, Rules


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


def grown(step, lacking):
    """A convolution with a larger kernel, zeros around its own, and the same outputs.

    Args:
        step: linear `Step`.
        lacking: taps that it should have more, `[(before its own, behind them)]`.

    Returns: `Step`, it itself where it lacks none.
    Raises: Refused: if a larger kernel would move its pixels or leave fewer of them.
    """
    if not any(map(any, lacking)):
        return step
    window, layer = step.window, step.layer
    if layer is not None and not isinstance(Rules().of(layer), (ConvRule, DepthwiseConvRule)):
        raise Refused(f"is a {type(layer).__name__}, whose kernel has no window")
    padding = "same" if layer is None else layer.padding
    if padding == "valid" and not all(size == 1 for size in layer.kernel_size):  # a 1x1 pads nothing in either mode
        raise Refused("would need a larger kernel, which with padding='valid' leaves fewer pixels")
    rates = layer.dilation_rate if layer is not None else (1,) * step.rank
    taps = list(window.taps)
    for axis, (before, behind) in enumerate(lacking):
        more = -(-max(before, behind) // rates[axis]) * rates[axis]
        taps[axis] += more if padding == "causal" else 2 * more
    if padding == "causal":
        before, after = tuple(size - 1 for size in taps), (0,)
    else:
        before, after = same_padding(taps, window.strides, step.sizes)
    kernel = window.placed(taps, before)
    return step.changed(window=dataclasses.replace(window, kernel=kernel, before=before, is_padded=any(before + after)))
