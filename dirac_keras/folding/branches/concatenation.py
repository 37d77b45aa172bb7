"""Linear branches that start at one tensor and meet in a concatenation of channels, merged into one convolution."""

import keras
import numpy as np

from dirac_keras.folding.branches.addition import Addition
from dirac_keras.folding.branches.branch import branch_of, whole_window
from dirac_keras.folding.branches.frame import find_frame
from dirac_keras.folding.branches.hosts import check_bias, check_growth, frames_of, hosts_of, in_frame, is_read_once
from dirac_keras.folding.branches.reading import channels_of
from dirac_keras.folding.branches.tree import Summand
from dirac_keras.folding.branches.writing import put_kernel
from dirac_keras.folding.refused import Refused
from dirac_keras.folding.rules import ConvRule, DenseRule
from dirac_keras.graph.layer_types import raw_operation_name

# 3x3 and 1x1 of as many channels in one 3x3 take 1.8 times theirs. No addition is saved here, but a copy.
_LARGEST_GROWTH = 2.0


def is_concatenation(graph, call):
    """Whether a call joins different tensors of floating-point numbers, by an operation that is called nowhere else."""
    is_kind = type(call.operation) is keras.layers.Concatenate or raw_operation_name(call.operation) == "Concatenate"
    leaves = keras.tree.flatten((call.args, call.kwargs))
    return (
        is_kind
        and 1 < len({*call.inputs}) == len(call.inputs) == len(leaves)
        and len(graph.calls_of[id(call.operation)]) == 1
        and not any(tensor in graph.integers for tensor in call.inputs)
    )


class Concatenation(Addition):
    """One concatenation. All of its branches merge, or none."""

    verb = "joins"

    def merge(self):
        self.axis = self.root.operation.axis % len(self.shape)
        if self.axis == 0:
            return
        branches = [
            branch_of(self.graph, self.rules, self.axis, Summand(self.root, tensor, 1.0)) for tensor in self.root.inputs
        ]
        common = set.intersection(*({*branch.sources} for branch in branches))
        if not common:
            return
        source = max(common, key=branches[0].sources.index)
        if not any(hosts_of(branch.from_source(source)[0], self.rules) for branch in branches):
            return
        try:
            self._merge_all(source, branches)
        except Refused as refused:
            self.merged.reasons[id(self.root.operation)] = self._said(branches, source, [str(refused)])

    def _merge_all(self, source, branches):
        whole = []
        for branch, shape in zip(branches, self.root.input_shapes, strict=True):
            for call in branch.from_source(source)[0]:
                if not is_read_once(self.graph, call):
                    raise Refused(f"'{self.names[id(call.operation)]}' is shared, or read in other places too")
            whole.append((branch, whole_window(branch, source, self.names, channels_of(shape, self.axis))))
        windows = [window for _, window in whole]
        if any(window.groups > 1 and not window.is_channelwise for window in windows):
            raise Refused("they have groups")
        hosts = [
            host
            for host in frames_of(self.graph, self.rules, whole, source, 1)
            if type(self.rules.of(host[2].operation)) in (ConvRule, DenseRule)
        ]
        if not hosts:
            raise Refused("none of them is an ordinary convolution or a dense layer")
        frame, host, call = find_frame(hosts, windows)
        if frame.is_new:
            raise Refused("no window of them holds all")
        kernel = np.concatenate([in_frame(window, frame, 1) for window in windows], axis=-1)
        bias = np.concatenate([window.bias for window in windows])
        check_growth(self.rules, kernel, [branch.from_source(source)[0] for branch in branches], frame, _LARGEST_GROWTH)
        check_bias(self.rules, call, bias, self.shape)
        others = [branch for branch in branches if branch is not host]
        self._report(source, host, call, others)
        put_kernel(call.operation, self.rules.of(call.operation), frame, kernel, bias, 1)
        self.merged.hosts.append(call.operation)
        self._widen(host, call, source)
        self._cut(host.summand.tensor)
        self._take_out(host, call, source, frame)

    def _widen(self, host, call, source):
        """What the host and those behind it give has the channels of all branches now."""
        calls, _ = host.from_source(source)
        for other in calls[calls.index(call) :]:
            shape = list(other.output_shapes[0])
            shape[self.axis] = self.shape[self.axis]
            other.output_shapes[0] = tuple(shape)
            if other is not call:
                other.input_shapes = [tuple(shape)]

    def _cut(self, kept):
        """Takes the other branches off the concatenation, and it out of the graph."""
        place = self.root.inputs.index(kept)
        leaves = keras.tree.flatten((self.root.args, self.root.kwargs))
        at = next(at for at, leaf in enumerate(leaves) if leaf is self.root.slots[place])
        self.cuts[id(self.root.operation)] = {at: 1.0}
        dropped = [tensor for tensor in self.root.inputs if tensor != kept]
        for tensor in dropped:
            self.graph.cut_input(self.root, tensor)
        self.graph.remove(self.root)
        self.graph.prune(dropped)
