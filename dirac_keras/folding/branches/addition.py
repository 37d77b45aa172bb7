"""`Addition`: the linear branches of one tree of additions, merged."""

from dataclasses import dataclass, field

from dirac_keras.folding.branches.branch import branch_of, form_of, is_identity, is_padding, whole_window
from dirac_keras.folding.branches.frame import find_frame
from dirac_keras.folding.branches.hosts import (
    check_bias,
    check_growth,
    check_sides,
    common_groups,
    frames_of,
    hosts_of,
    in_frame,
    is_read_once,
)
from dirac_keras.folding.branches.reading import channel_axis, channels_of
from dirac_keras.folding.branches.tree import cut_branches, summands_of
from dirac_keras.folding.branches.writing import put_kernel
from dirac_keras.folding.refused import Refused
from dirac_keras.folding.report import FoldedLayer


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


class Addition:
    """One tree of additions."""

    verb = "adds"

    def __init__(self, graph, rules, names, cuts, merged, root):
        self.graph, self.rules, self.names, self.cuts, self.merged = graph, rules, names, cuts, merged
        self.root = root
        self.shape = root.output_shapes[0]

    def merge(self):
        """Merges one group of branches, if there is one that fits together."""
        if len(self.shape) < 2:
            return
        summands = summands_of(self.graph, self.root)
        self.axis = self._axis(summands)
        branches = [branch_of(self.graph, self.rules, self.axis, summand) for summand in summands]
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

    def _axis(self, summands):
        """The axis of the channels, as the layers on the way say; else the last."""
        for tensor in (summand.tensor for summand in summands):
            while (call := self.graph.producer.get(tensor)) is not None and len(call.inputs) == 1:
                if (axis := channel_axis(call, self.rules)) is not None:
                    return axis
                tensor = call.inputs[0]
        return len(self.shape) - 1

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
            if len(group) > 1 and any(hosts_of(branch.from_source(source)[0], self.rules) for branch in group)
        ]
        return [(source, group) for source, group, _ in sorted(possible, key=lambda one: (-len(one[1]), one[2]))]

    def _merge_group(self, source, group):
        """Merges those of the branches that fit together. Raises: Refused: if not even two do."""
        whole, reasons = [], []
        for branch in group:
            try:
                whole.append((branch, whole_window(branch, source, self.names, channels_of(self.shape, self.axis))))
            except Refused as refused:
                reasons.append(str(refused))
        windows = [window for _, window in whole]
        left = [branch for branch in group if not any(branch is other for other, _ in whole)]
        if len(whole) < 2:
            raise Refused(self._said(group, source, reasons))
        try:
            groups = common_groups(windows)
            frame, host, call = find_frame(frames_of(self.graph, self.rules, whole, source, groups), windows)
            kernel = sum(in_frame(window, frame, groups) for window in windows)
            bias = sum(window.bias for window in windows)
            check_growth(self.rules, kernel, [branch.from_source(source)[0] for branch, _ in whole], frame)
            check_bias(self.rules, call, bias, self.shape)
            if frame.is_new:
                check_sides(host.from_source(source)[0], self.axis)
            if frame.is_new and not all(is_read_once(self.graph, one) for one in host.from_source(source)[0]):
                raise Refused("the zeros that the larger window would not need are read in other places too")
        except Refused as refused:
            raise Refused(self._said(group, source, [*reasons, str(refused)])) from refused
        if left:
            self.merged.reasons[id(self.root.operation)] = self._said(left, source, reasons)
        others = [branch for branch, _ in whole if branch is not host]
        self._report(source, host, call, others)
        put_kernel(call.operation, self.rules.of(call.operation), frame, kernel, bias, groups)
        self.merged.hosts.append(call.operation)
        gone = [branch.summand for branch in others]
        cut_branches(self.graph, self.cuts, self.root, gone, host.summand)
        self._take_out(host, call, source, frame)

    def _take_out(self, branch, call, source, frame):
        """What is in the host's kernel now goes from before and behind it."""
        calls, windows = branch.from_source(source)
        for other, window in zip(calls, windows, strict=True):
            if other is call or is_identity(window) or (is_padding(window) and not frame.is_new):
                continue
            self.graph.remove(other)
            self.merged.dropped.add(id(other.operation))
            action = f"merged into '{self.names[id(call.operation)]}'"
            self.merged.folded.append(FoldedLayer(self.names[id(other.operation)], action))

    def _report(self, source, host, call, others):
        into = self.names[id(call.operation)]
        for branch in others:
            for other in branch.from_source(source)[0]:
                if is_read_once(self.graph, other):
                    action = f"merged with its branch into '{into}'"
                    self.merged.folded.append(FoldedLayer(self.names[id(other.operation)], action))
        forms = ", ".join(form_of(*branch.from_source(source), branch.summand.factor) for branch in (host, *others))
        action = f"its branches ({forms}) merged into '{into}'"
        self.merged.folded.append(FoldedLayer(self.names[id(self.root.operation)], action))

    def _said(self, branches, source, reasons):
        forms = ", ".join(form_of(*branch.from_source(source), branch.summand.factor) for branch in branches)
        return f"{self.verb} linear branches ({forms}) that are not merged: {'; '.join(dict.fromkeys(reasons))}"
