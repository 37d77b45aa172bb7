"""`Reservation`: one skip and the branch that it goes through, and whether it can."""

import itertools
import math

import numpy as np

from dirac_keras.conversion.plan import Plan
from dirac_keras.conversion.skips import PlainSkip
from dirac_keras.conversion.steps import NO_KERNEL, Step, new_tensor
from dirac_keras.conversion.widening import one_tap
from dirac_keras.folding.branches.window import Window, behind
from dirac_keras.folding.refused import Refused


class Reservation:
    """One skip on its way through one branch."""

    def __init__(self, network, join, main, skip, grouped, in_pairs):
        self.network, self.join, self.grouped, self.in_pairs = network, join, grouped, in_pairs
        self.start, self.replaced, skip_steps = self._ways(main, skip)
        self._check_branch()
        self.branch = [part for step in self.replaced for part in network.parts_of(step)]
        if self.start not in network.bounds:
            raise Refused("its tensor has no known channels")
        self.axis, self.rank = self.branch[0].axis, self.branch[0].rank
        self.start_bounds = network.bounds[self.start]
        self.skip = self._window(skip_steps)
        self.steps, self.added = [], []

    # What there is ----------------------------------------------------------------------------------------
    def _ways(self, main, skip):
        """The tensor where the two begin, and the steps from there to each."""
        up, beside = self.network.upwards(main), self.network.upwards(skip)
        tensors = [tensor for tensor, _ in beside]
        place = next((place for place, (tensor, _) in enumerate(up) if tensor in tensors), None)
        if place is None:
            ends = [step for way in (up, beside) if (step := way[-1][1]) is not None]
            if stays := [step.name for step in ends if len(step.inputs) > 1]:
                raise Refused(f"a side of it ends at '{stays[0]}', which stays")
            where = " and ".join(f"'{step.name}' ({type(step.layer).__name__})" for step in ends) or "inputs"
            raise Refused(f"its two sides do not begin at one tensor: they end at {where}")
        if place == 0:
            raise Refused("what it adds lies on the way to its other side, which is the shorter one")
        start = up[place][0]
        branch = [step for _, step in up[:place]][::-1]
        return start, branch, [step for _, step in beside[: tensors.index(start)]][::-1]

    def _check_branch(self):
        for step in self.replaced:
            (tensor,) = step.outputs
            if not self.network.is_read_once(tensor):
                raise Refused(f"'{step.name}' in its branch is read in another place too")
            if step.kind == "other":
                raise Refused(f"'{step.name}' ({type(step.layer).__name__}) in its branch {step.why_other}")
            if step.has_activation and step.activation is None and step.slopes is None:
                raise Refused(f"'{step.name}' has an activation that changes what is carried through it")

    def _window(self, steps):
        """The `Window` of the skip itself."""
        channels = len(self.start_bounds.low)
        window = Window.identity(channels, self.rank)
        for step in steps:
            if not step.is_linear:
                what = f"'{step.name}' ({type(step.layer).__name__})"
                if step.why_other and step.why_other != NO_KERNEL:
                    raise Refused(f"{what} in its skip {step.why_other}")
                own = next((one for one in self.branch if not one.is_linear), None)
                beside = f", as '{own.name}' in the other" if own else ""
                raise Refused(f"neither side is linear: {what} in one{beside}")
            window = behind(window, step.window)
        return window

    # What is made of it -----------------------------------------------------------------------------------
    def run(self):
        """Replaces the branch. Returns: the tensor that holds the sum, and the `PlainSkip`."""
        branch = [step for step in self.branch if step.kind != "nothing"]
        channels = _channels_behind(branch, len(self.start_bounds.low))
        if not branch or not branch[-1].is_dense or branch[-1].has_activation:
            branch.append(self._added("end", channels, (None,) * self.rank))
        first = next(step for step in branch if step.kind not in ("pad", "pick"))
        if not first.is_dense or first is branch[-1]:  # something has to carry the tensor from where it is
            branch.insert(0, self._added("start", len(self.start_bounds.low), self.branch[0].sizes))
        reasons = {}
        for place, looks_ahead, grows in self._attempts(branch):
            try:
                plan = Plan(self, branch, place, looks_ahead, grows)
                steps = plan.run()
            except Refused as refused:
                is_whole = str(refused).startswith(("'", "the"))
                reasons[place] = str(refused) if is_whole else f"{_said_of(branch, place)} {refused}"
                continue
            tensor = new_tensor()
            steps[-1].outputs = [tensor]
            self.network.replace(self.replaced, steps)
            self.network.left_out += [step.name for step in self.replaced if _is_random(step)]
            producer = self.network.producer(self.start)
            start = producer.name if producer is not None else "the input"
            return tensor, PlainSkip(self.join.name, start, plan.in_words(), plan.count, steps[-1].name)
        reasons = list(dict.fromkeys(reasons.values()))
        if len(reasons) > 1:
            size = "x".join(map(str, self.skip.taps))
            raise Refused(f"the skip's window of {size} pixels fits none of the layers beside it: {'; '.join(reasons)}")
        raise Refused(reasons[0] if reasons else "no convolution of its branch can take it in")

    def _attempts(self, branch):
        """`(place of the skip's window, looks_ahead, grows)`, what costs least first."""
        last = len(branch) - 1
        ways = (False, True) if any(step.window is not None and min(step.window.before, default=0) < 0
                                    for step in branch) else (False,)  # fmt: skip
        if set(self.skip.taps) <= {1}:
            return [(last, looks_ahead, False) for looks_ahead in ways]
        dense = [at for at in range(last, -1, -1) if branch[at].is_dense]
        in_groups = [at for at in range(last, -1, -1) if branch[at].takes_groups and not branch[at].is_dense]
        return [
            *itertools.product(dense, ways, (False,)),
            *itertools.product(sorted(dense, key=lambda at: math.prod(branch[at].window.channels)), ways, (True,)),
            *itertools.product(in_groups, ways, (False, True)),  # made dense
        ]

    def _added(self, what, channels, sizes):
        """A 1x1 layer that gives what it reads; the carried channels come to it as to any other."""
        return Step(
            "linear",
            f"{self.join.name}_{what}",
            [],
            [],
            window=one_tap(np.eye(channels), np.zeros(channels), self.rank),
            axis=self.axis,
            rank=self.rank,
            sizes=sizes,
            dtype=self.branch[0].dtype,
        )


def _said_of(branch, place):
    """A step in words: one that was added has a name that the user does not know."""
    if branch[place].layer is not None:
        return f"'{branch[place].name}'"
    beside = branch[place - 1] if place else branch[1]
    return f"a 1x1 convolution {'behind' if place else 'before'} '{beside.name}' ({type(beside.layer).__name__})"


def _is_random(step):
    """Whether it does something in training."""
    kind = type(step.layer).__name__
    return step.kind == "nothing" and ("Dropout" in kind or "Noise" in kind)


def _channels_behind(branch, channels):
    for step in branch:
        if step.kind == "linear":
            channels = step.window.channels[1]
    return channels
