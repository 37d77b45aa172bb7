"""Finds branches that can merge at the additions of a graph, and merges them."""

from dataclasses import dataclass, field, replace

import keras
import numpy as np

from dirac_keras.folding.branches.frame import Frame, find_frame
from dirac_keras.folding.branches.reading import Inexact, channel_axis, channels_of, window_of
from dirac_keras.folding.branches.window import Window, behind
from dirac_keras.folding.misplaced import adds_elsewhere
from dirac_keras.folding.refused import Refused
from dirac_keras.folding.report import FoldedLayer
from dirac_keras.folding.rules import ConvRule, DenseRule, DepthwiseConvRule
from dirac_keras.graph.layer_types import is_keras_op

_LARGEST_GROWTH = 4.0  # of multiply-accumulates: a 1x7 and a 7x1 in a 7x7 take 3.5 times theirs


@dataclass
class Merged:
    """What merging did.

    Args:
        folded: list of `FoldedLayer`.
        reasons: dict, id(addition) -> why branches of it that start at one tensor are not merged.
        hosts: list of the layers that have new kernels, in their rules.
        dropped: set of id(layer) that go.
    """

    folded: list = field(default_factory=list)
    reasons: dict = field(default_factory=dict)
    hosts: list = field(default_factory=list)
    dropped: set = field(default_factory=set)


def merge_branches(graph, rules, names, cuts):
    """Merges, at each addition, the linear branches that start at one tensor into one of their convolutions.

    Args:
        graph: `Graph`, changed in place.
        rules: `Rules`; those of the hosts get the new kernel.
        names: dict, id(layer) -> path.
        cuts: dict, id(addition) -> places of the summands that it keeps, changed in place.

    Returns: `Merged`.
    Source: Ding et al. 2021, RepVGG, arXiv:2101.03697, section 3.3; Ding et al. 2021, Diverse Branch Block,
        arXiv:2103.13425, section 3.2, with the borders that "same" padding makes taken into account.
    """
    merged = Merged()
    for call in list(graph.calls):
        if _is_addition(graph, call) and not _is_summand(graph, call):
            _Addition(graph, rules, names, cuts, merged, call).merge()
    return merged


def _is_addition(graph, call):
    return (
        is_keras_op(call.operation, "Add")
        and len(graph.calls_of[id(call.operation)]) == 1
        and len(call.inputs) == len(set(call.inputs))
        and bool(call.inputs)
        and set(call.input_shapes) == {call.output_shapes[0]}
        and not any(tensor in graph.integers for tensor in call.inputs)
    )


def _is_summand(graph, call):
    """Whether the sum is read by another addition alone."""
    (tensor,) = call.outputs
    readers = graph.consumers.get(tensor, [])
    return len(readers) == 1 and tensor not in graph.outputs and _is_addition(graph, readers[0])


@dataclass
class _Branch:
    """A summand.

    Args:
        addition: the call that reads it.
        tensor: its number.
        calls: the calls on the way to it, as far up as they are linear, the first one first.
        windows: their `Window`s.
        sources: numbers of the tensors where it may start, the nearest last: one more than calls.
        inexact: `(call, reason)` of a linear layer that the way ends at; None where it does not.
    """

    addition: object
    tensor: int
    calls: list
    windows: list
    sources: list
    inexact: tuple | None = None

    def from_source(self, source):
        """Calls and windows behind a tensor on the way."""
        place = self.sources.index(source)
        return self.calls[place:], self.windows[place:]


class _Addition:
    """One tree of additions."""

    def __init__(self, graph, rules, names, cuts, merged, root):
        self.graph, self.rules, self.names, self.cuts, self.merged = graph, rules, names, cuts, merged
        self.root = root
        self.shape = root.output_shapes[0]

    def merge(self):
        """Merges one group of branches, if there is one that fits together."""
        if len(self.shape) < 2:
            return
        summands = self._summands(self.root)
        self.axis = self._axis(summands)
        branches = [self._branch(addition, tensor) for addition, tensor in summands]
        reasons = self._inexact(branches)
        for source, group in self._groups(branches):
            try:
                self._merge_group(source, group)
                if reasons:
                    self.merged.reasons.setdefault(id(self.root.operation), reasons[0])
                return
            except Refused as refused:
                reasons.append(str(refused))
        if reasons:
            self.merged.reasons[id(self.root.operation)] = reasons[0]

    def _summands(self, call):
        """`[(addition, tensor)]` of the leaves of the tree."""
        leaves = []
        for tensor in call.inputs:
            made = self.graph.producer.get(tensor)
            is_inner = made is not None and _is_addition(self.graph, made) and _is_summand(self.graph, made)
            leaves += self._summands(made) if is_inner else [(call, tensor)]
        return leaves

    def _axis(self, tensors):
        """The axis of the channels, as the layers on the way say; else the last."""
        for _, tensor in tensors:
            while (call := self.graph.producer.get(tensor)) is not None and len(call.inputs) == 1:
                if (axis := channel_axis(call, self.rules)) is not None:
                    return axis
                tensor = call.inputs[0]
        return len(self.shape) - 1

    def _branch(self, addition, tensor):
        calls, windows, sources, inexact = [], [], [tensor], None
        while (call := self.graph.producer.get(sources[0])) is not None:
            try:
                windows.insert(0, window_of(call, self.rules, self.axis))
            except Refused as refused:
                inexact = (call, str(refused)) if isinstance(refused, Inexact) else None
                break
            calls.insert(0, call)
            sources.insert(0, call.inputs[0])
        return _Branch(addition, tensor, calls, windows, sources, inexact)

    def _inexact(self, branches):
        """Reasons of branches that would start where others do, but for one layer."""
        return [
            f"adds a linear branch that is not merged: '{self.names[id(call.operation)]}' {reason}"
            for call, reason in (branch.inexact for branch in branches if branch.inexact)
            if any(call.inputs[0] in branch.sources for branch in branches)
        ]

    def _groups(self, branches):
        """`[(tensor, branches that start at it)]`, most branches first, then the nearest tensor."""
        found = {}
        for branch in branches:
            for distance, source in enumerate(reversed(branch.sources)):
                group, total = found.get(source, ([], 0))
                found[source] = [*group, branch], total + distance
        possible = [
            (source, group, total)
            for source, (group, total) in found.items()
            if len(group) > 1 and any(_hosts(branch.from_source(source)[0], self.rules) for branch in group)
        ]
        return [(source, group) for source, group, _ in sorted(possible, key=lambda one: (-len(one[1]), one[2]))]

    def _merge_group(self, source, group):
        """Merges those of the branches that fit together. Raises: Refused: if not even two do."""
        whole, reasons = [], []
        for branch in group:
            try:
                whole.append((branch, self._whole(branch, source)))
            except Refused as refused:
                reasons.append(str(refused))
        windows = [window for _, window in whole]
        left = [branch for branch in group if not any(branch is other for other, _ in whole)]
        if len(whole) < 2:
            raise Refused(self._said(group, source, reasons))
        try:
            groups = _common_groups(windows)
            frame, host, call = find_frame(self._frames(whole, source, groups), windows)
            kernel = sum(_in_frame(window, frame, groups) for window in windows)
            bias = sum(window.bias for window in windows)
            self._check_growth(kernel, [branch.from_source(source)[0] for branch, _ in whole], frame)
            self._check_bias(call, bias)
            if frame.is_new and not all(map(self._is_read_once, host.from_source(source)[0])):
                raise Refused("the zeros that the larger window would not need are read in other places too")
        except Refused as refused:
            raise Refused(self._said(group, source, [*reasons, str(refused)])) from refused
        if left:
            self.merged.reasons[id(self.root.operation)] = self._said(left, source, reasons)
        others = [branch for branch, _ in whole if branch is not host]
        self._report(source, host, call, others)
        self._put(call, frame, kernel, bias, groups)
        self._take_out(host, call, source, frame)
        self._cut(others)

    def _whole(self, branch, source):
        calls, windows = branch.from_source(source)
        rank = len(self.shape) - 2
        result = Window.identity(channels_of(self.shape, self.axis), rank)
        for call, window in zip(reversed(calls), reversed(windows), strict=True):
            if len(window.strides) != rank:
                raise Refused(f"'{self.names[id(call.operation)]}' has other axes")
            try:
                result = window if result.is_channelwise and _is_identity(result) else behind(window, result)
            except Refused as refused:
                following = calls[calls.index(call) + 1]
                raise Refused(f"'{self.names[id(following.operation)]}' {refused}") from refused
        return result

    # Hosts ------------------------------------------------------------------------------------------------
    def _frames(self, whole, source, groups):
        """`[(Frame, branch, call)]`: the windows of convolutions that can take the others in, the largest first."""
        found = []
        for branch, _ in whole:
            calls, windows = branch.from_source(source)
            for place in self._possible_hosts(calls, windows, groups):
                before = tuple(map(sum, zip(*(window.before for window in windows[: place + 1]), strict=True)))
                own = calls[place].operation
                dilation = tuple(getattr(own, "dilation_rate", (1,) * len(before)))
                found.append((Frame(windows[place].taps, before, dilation), branch, calls[place]))
        if not found:
            raise Refused("each of their convolutions is shared, is read in other places too, or has other groups")
        return sorted(found, key=lambda one: -np.prod(one[0].taps))

    def _possible_hosts(self, calls, windows, groups):
        """Places of the convolutions in which the whole branch can be put, and others with so many groups."""
        possible = []
        for place, call in enumerate(calls):
            rule = self.rules.of(call.operation)
            if not _is_host_rule(rule) or not self._is_read_once(call):
                continue
            if isinstance(rule, DepthwiseConvRule) and groups != call.operation.kernel.shape[-2]:
                continue
            others = [
                (other, window)
                for at, (other, window) in enumerate(zip(calls, windows, strict=True))
                if at > place or (at < place and not _is_padding(window))
            ]
            if all(
                self._is_read_once(other) and set(window.taps + window.strides) <= {1} and not any(window.before)
                for other, window in others
            ):
                possible.append(place)
        return possible

    def _is_read_once(self, call):
        (tensor,) = call.outputs
        return (
            len(self.graph.calls_of[id(call.operation)]) == 1
            and len(self.graph.consumers.get(tensor, [])) == 1
            and tensor not in self.graph.outputs
        )

    def _check_growth(self, kernel, chains, frame):
        """Raises: Refused: if one convolution would take far more multiply-accumulates than the branches."""
        own = 0
        for call in {id(call): call for calls in chains for call in calls}.values():
            rule = self.rules.of(call.operation)
            own += rule.kernel.size if _is_host_rule(rule) else 0
        taps = np.prod([len(range(0, size, rate)) for size, rate in zip(frame.taps, frame.dilation, strict=True)])
        new = kernel.shape[-2] * kernel.shape[-1] * taps
        if new > _LARGEST_GROWTH * own:
            raise Refused(f"one convolution would take {new / own:.3g} times their multiply-accumulates")

    def _check_bias(self, call, bias):
        rule = self.rules.of(call.operation)
        if np.any(bias != 0.0) and adds_elsewhere(self.shape, rule.bias_shape(self.shape)):
            raise Refused("the bias would be added along another axis (on TensorFlow, where both are as long)")

    # Changes ----------------------------------------------------------------------------------------------
    def _put(self, call, frame, kernel, bias, groups):
        layer, rule = call.operation, self.rules.of(call.operation)
        kernel = kernel[tuple(slice(None, None, rate) for rate in frame.dilation)]
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
        self.merged.hosts.append(layer)

    def _take_out(self, branch, call, source, frame):
        """What is in the host's kernel now goes from before and behind it."""
        calls, windows = branch.from_source(source)
        for other, window in zip(calls, windows, strict=True):
            if other is call or _is_identity(window) or (_is_padding(window) and not frame.is_new):
                continue
            self.graph.remove(other)
            self.merged.dropped.add(id(other.operation))
            action = f"merged into '{self.names[id(call.operation)]}'"
            self.merged.folded.append(FoldedLayer(self.names[id(other.operation)], action))

    def _report(self, source, host, call, others):
        into = self.names[id(call.operation)]
        for branch in others:
            for other in branch.from_source(source)[0]:
                if self._is_read_once(other):
                    action = f"merged with its branch into '{into}'"
                    self.merged.folded.append(FoldedLayer(self.names[id(other.operation)], action))
        forms = ", ".join(_form(*branch.from_source(source)) for branch in (host, *others))
        action = f"its branches ({forms}) merged into '{into}'"
        self.merged.folded.append(FoldedLayer(self.names[id(self.root.operation)], action))

    def _cut(self, branches):
        gone = {}
        for branch in branches:
            gone.setdefault(id(branch.addition), (branch.addition, []))[1].append(branch.tensor)
        self._cut_addition(self.root, {key: tensors for key, (_, tensors) in gone.items()})
        self.graph.prune([branch.tensor for branch in branches])

    def _cut_addition(self, call, gone):
        """Takes summands off a tree of additions. Returns: whether anything is left of it."""
        dropped = list(gone.get(id(call), []))
        for tensor in call.inputs:
            made = self.graph.producer.get(tensor)
            is_inner = made is not None and _is_addition(self.graph, made) and _is_summand(self.graph, made)
            if tensor not in dropped and is_inner and not self._cut_addition(made, gone):
                dropped.append(tensor)
        if not dropped:
            return True
        key = id(call.operation)
        leaves = keras.tree.flatten((call.args, call.kwargs))
        slots = {id(slot) for tensor, slot in zip(call.inputs, call.slots, strict=True) if tensor in dropped}
        before = self.cuts.get(key, range(len(leaves)))
        places = [place for place in before if id(leaves[place]) not in slots]
        if not places:
            return False
        self.cuts[key] = places
        for tensor in dropped:
            self.graph.cut_input(call, tensor)
            self.graph.prune([tensor])
        if len(places) == 1:
            self.graph.remove(call)
        return True

    def _said(self, branches, source, reasons):
        forms = ", ".join(_form(*branch.from_source(source)) for branch in branches)
        return f"adds linear branches ({forms}) that are not merged: {'; '.join(dict.fromkeys(reasons))}"


def _is_host_rule(rule):
    return isinstance(rule, (ConvRule, DenseRule, DepthwiseConvRule))


def _hosts(calls, rules):
    return [call for call in calls if _is_host_rule(rules.of(call.operation))]


def _common_groups(windows):
    groups = {window.groups for window in windows if not window.is_channelwise}
    if len(groups) > 1:
        raise Refused(f"they have {' and '.join(map(str, sorted(groups)))} groups")
    return groups.pop() if groups else windows[0].groups


def _in_frame(window, frame, groups):
    return replace(window, kernel=window.placed(frame.taps, frame.before), before=frame.before).in_groups(groups).kernel


def _is_padding(window):
    """Whether all it does is to add zeros around the image, or nothing."""
    return _is_identity(replace(window, before=(0,) * len(window.before), is_padded=False))


def _is_identity(window):
    return (
        window.is_channelwise
        and set(window.taps + window.strides) <= {1}
        and not (any(window.before) or window.is_padded)
        and not np.any(window.bias)
        and bool(np.all(window.kernel == 1.0))
    )


def _form(calls, windows):
    """`3x3`, `1x1`, `identity`, `average 3x3`, `1x1 then 3x3`: a branch in words."""
    words = []
    for call, window in zip(calls, windows, strict=True):
        size = "x".join(str(size) for size in (getattr(call.operation, "kernel_size", None) or window.taps))
        if hasattr(call.operation, "kernel"):
            words.append(size or "dense")
        elif hasattr(call.operation, "pool_size"):
            words.append(f"average {size}")
    if words:
        return " then ".join(words)
    return "identity" if all(map(_is_identity, windows)) else "scaled identity"
