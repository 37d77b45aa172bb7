"""A branch: the linear layers on the way to an addition, and the window that they make."""

from dataclasses import dataclass, replace

import numpy as np

from dirac_keras.folding.branches.reading import Inexact, window_of
from dirac_keras.folding.branches.window import Window, behind
from dirac_keras.folding.refused import Refused


@dataclass
class Branch:
    """A summand.

    Args:
        summand: `Summand`.
        calls: the calls on the way to it, as far up as they are linear, the first one first.
        windows: their `Window`s.
        sources: numbers of the tensors where it may start, the nearest last: one more than calls.
        inexact: `(call, reason)` of a linear layer that the way ends at; None where it does not.
    """

    summand: object
    calls: list
    windows: list
    sources: list
    inexact: tuple | None = None

    def from_source(self, source):
        """Calls and windows behind a tensor on the way."""
        place = self.sources.index(source)
        return self.calls[place:], self.windows[place:]


def branch_of(graph, rules, axis, summand):
    """The `Branch` of a `Summand`."""
    calls, windows, sources, inexact = [], [], [summand.tensor], None
    while (call := graph.producer.get(sources[0])) is not None:
        try:
            windows.insert(0, window_of(call, rules, axis))
        except Refused as refused:
            inexact = (call, str(refused)) if isinstance(refused, Inexact) else None
            break
        calls.insert(0, call)
        sources.insert(0, call.inputs[0])
    return Branch(summand, calls, windows, sources, inexact)


def whole_window(branch, source, names, channels):
    """The `Window` of a branch from a tensor on its way to the addition.

    Args:
        names: dict, id(layer) -> path.
        channels: int, of the sum.

    Raises: Refused: if its layers make no single window, with the layer.
    """
    calls, windows = branch.from_source(source)
    rank = len(branch.summand.addition.output_shapes[0]) - 2
    factor = np.full(channels, branch.summand.factor)
    result = Window.scaling(factor, np.zeros(channels), rank)
    for call, window in zip(reversed(calls), reversed(windows), strict=True):
        if len(window.strides) != rank:
            raise Refused(f"'{names[id(call.operation)]}' has other axes")
        try:
            result = window if result.is_channelwise and is_identity(result) else behind(window, result)
        except Refused as refused:
            following = calls[calls.index(call) + 1]
            raise Refused(f"'{names[id(following.operation)]}' {refused}") from refused
    return result


def is_padding(window):
    """Whether all it does is to add zeros around the image, or nothing."""
    return is_identity(replace(window, before=(0,) * len(window.before), is_padded=False))


def is_identity(window):
    """Whether it gives what it reads."""
    return (
        window.is_channelwise
        and set(window.taps + window.strides) <= {1}
        and not (any(window.before) or window.is_padded)
        and not np.any(window.bias)
        and bool(np.all(window.kernel == 1.0))
    )


def form_of(calls, windows, factor=1.0):
    """`3x3`, `1x1`, `identity`, `average 3x3`, `1x1 then 3x3`: a branch in words."""
    words = []
    for call, window in zip(calls, windows, strict=True):
        size = "x".join(str(size) for size in (getattr(call.operation, "kernel_size", None) or window.taps))
        if hasattr(call.operation, "depthwise_kernel"):
            words.append(f"separable {size}")
        elif hasattr(call.operation, "kernel"):
            words.append(size or "dense")
        elif hasattr(call.operation, "pool_size"):
            words.append(f"average {size}")
    if words:
        return " then ".join(words)
    return "identity" if factor == 1.0 and all(map(is_identity, windows)) else "scaled identity"
