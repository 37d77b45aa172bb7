"""The place for merged branches: a convolution's window, as it is or larger."""

from dataclasses import dataclass

from dirac_keras.folding.refused import Refused


@dataclass(frozen=True)
class Frame:
    """Taps of a convolution, the zeros of dilation included, and how many are before the first pixel.

    Args:
        taps, before, dilation: tuples of int, one a spatial axis.
        is_new: bool, whether it is larger than the convolution's own, with padding "same".
    """

    taps: tuple
    before: tuple
    dilation: tuple
    is_new: bool = False


def find_frame(hosts, windows):
    """The first host that has room for all windows; else the first one with a larger window.

    Args:
        hosts: list of `(Frame, branch, call)`.
        windows: list of `Window`, from the tensor where the branches start to the addition.

    Returns: one of `hosts`, perhaps with another frame.
    Raises: Refused: if none has room and none can be made larger.
    """
    strides = {window.strides for window in windows}
    if len(strides) > 1:
        raise Refused("their strides differ")
    reasons = []
    for frame, branch, call in hosts:
        try:
            for window in windows:
                window.placed(frame.taps, frame.before)
                _check_dilation(window, frame)
        except Refused as refused:
            reasons.append(str(refused))
            continue
        return frame, branch, call
    convolutions = [(branch, call) for _, branch, call in hosts if hasattr(call.operation, "kernel_size")]
    if not convolutions:
        raise Refused(reasons[0])
    return (_larger(windows, reasons), *convolutions[0])


def _check_dilation(window, frame):
    """Raises: Refused: if a tap falls between those of the dilated host."""
    placed = window.placed(frame.taps, frame.before)
    for axis, rate in enumerate(frame.dilation):
        for offset in range(1, rate):
            between = placed[(slice(None),) * axis + (slice(offset, None, rate),)]
            if between.any():
                raise Refused("reads pixels between the taps of the dilated one")


def _larger(windows, reasons):
    (strides,) = {window.strides for window in windows}
    if set(strides) - {1}:
        raise Refused(f"no window of them holds all, and a larger one would need other padding ({reasons[0]})")
    lows, highs = zip(*(window.reach() for window in windows), strict=True)
    sides = [max(*(-low[axis] for low in lows), *(high[axis] for high in highs)) for axis in range(len(strides))]
    taps = tuple(2 * int(side) + 1 for side in sides)
    return Frame(taps, tuple(map(int, sides)), (1,) * len(taps), is_new=True)
