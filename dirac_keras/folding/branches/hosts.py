"""Hosts: the convolutions that can take other branches in."""

from dataclasses import replace

import keras
import numpy as np

from dirac_keras.folding.branches.branch import is_padding
from dirac_keras.folding.branches.frame import Frame
from dirac_keras.folding.branches.reading import is_dense
from dirac_keras.folding.misplaced import WHERE, adds_elsewhere
from dirac_keras.folding.refused import Refused
from dirac_keras.folding.rules import ConvRule, DepthwiseConvRule, LinearRule

_SIDE = 256  # for an open one: larger than any window
_LARGEST_GROWTH = 4.0  # of multiply-accumulates: a 1x7 and a 7x1 in a 7x7 take 3.5 times theirs


def frames_of(graph, rules, whole, source, groups):
    """`[(Frame, branch, call)]`: the windows of convolutions that can take the others in, the largest first."""
    found = []
    for branch, _ in whole:
        calls, windows = branch.from_source(source)
        for place in _possible_hosts(graph, rules, calls, windows, groups):
            before = tuple(map(sum, zip(*(window.before for window in windows[: place + 1]), strict=True)))
            own = calls[place].operation
            dilation = tuple(getattr(own, "dilation_rate", (1,) * len(before)))
            found.append((Frame(windows[place].taps, before, dilation), branch, calls[place]))
    if not found:
        raise Refused("each of their convolutions is shared, is read in other places too, or has other groups")
    return sorted(found, key=lambda one: -np.prod(one[0].taps))


def _possible_hosts(graph, rules, calls, windows, groups):
    """Places of the convolutions in which the whole branch can be put, and others with so many groups."""
    possible = []
    for place, call in enumerate(calls):
        rule = rules.of(call.operation)
        if not is_host_rule(rule) or not is_read_once(graph, call):
            continue
        if isinstance(rule, DepthwiseConvRule) and groups != call.operation.kernel.shape[-2]:
            continue
        others = [
            (other, window)
            for at, (other, window) in enumerate(zip(calls, windows, strict=True))
            if at > place or (at < place and not is_padding(window))
        ]
        if all(
            is_read_once(graph, other) and set(window.taps + window.strides) <= {1} and not any(window.before)
            for other, window in others
        ):
            possible.append(place)
    return possible


def is_read_once(graph, call):
    """Whether a layer is called once, and one other reads what it gives."""
    (tensor,) = call.outputs
    return (
        len(graph.calls_of[id(call.operation)]) == 1
        and len(graph.consumers.get(tensor, [])) == 1
        and tensor not in graph.outputs
    )


def check_sides(chain, axis):
    """Raises: Refused: if what a chain without strides gives has other sides than what it reads.

    A larger window is written with padding "same", which keeps them. Open sides get a size: without strides the two
    differ by the same number of pixels whatever it is.
    """
    shape = [size or _SIDE for size in chain[0].input_shapes[0]]
    tensor = keras.KerasTensor(shape, chain[0].input_dtypes[0])
    for call in chain:
        args, kwargs = keras.tree.map_structure(
            lambda x, tensor=tensor: tensor if isinstance(x, keras.KerasTensor) else x, (call.args, call.kwargs)
        )
        tensor = call.operation.compute_output_spec(*args, **kwargs)
    if any(size != shape[place] for place, size in enumerate(tensor.shape) if place != axis):
        raise Refused("no window of them holds all, and a larger one would keep the sides that they change")


def check_growth(rules, kernel, chains, frame, largest=_LARGEST_GROWTH):
    """Raises: Refused: if one convolution would take far more multiply-accumulates than the branches."""
    own = 0
    for call in {id(call): call for calls in chains for call in calls}.values():
        rule = rules.of(call.operation)
        own += sum(kernel.size for kernel in rule.kernels()) if isinstance(rule, LinearRule) else 0
    taps = np.prod([len(range(0, size, rate)) for size, rate in zip(frame.taps, frame.dilation, strict=True)])
    new = kernel.shape[-2] * kernel.shape[-1] * taps
    if new > largest * own:
        raise Refused(f"one convolution would take {new / own:.3g} times their multiply-accumulates")


def check_bias(rules, call, bias, shape):
    """Raises: Refused: if the layer would add a bias along another axis than its channels."""
    rule = rules.of(call.operation)
    if np.any(bias != 0.0) and adds_elsewhere(shape, rule.bias_shape(shape)):
        raise Refused(f"the bias would be added along another axis ({WHERE})")


def is_host_rule(rule):
    return isinstance(rule, (ConvRule, DepthwiseConvRule)) or is_dense(rule)


def hosts_of(calls, rules):
    return [call for call in calls if is_host_rule(rules.of(call.operation))]


def common_groups(windows):
    groups = {window.groups for window in windows if not window.is_channelwise}
    if len(groups) > 1:
        raise Refused(f"they have {' and '.join(map(str, sorted(groups)))} groups")
    return groups.pop() if groups else windows[0].groups


def in_frame(window, frame, groups):
    return replace(window, kernel=window.placed(frame.taps, frame.before), before=frame.before).in_groups(groups).kernel
