"""Reserve and merge: a skip's tensor is carried through the branch beside its own channels, and added at its end."""

import dataclasses
import itertools
import math

import keras
import numpy as np

from dirac_keras.conversion.carried import carry
from dirac_keras.conversion.places import Places
from dirac_keras.conversion.steps import Step, new_tensor
from dirac_keras.folding.branches.window import Window, behind
from dirac_keras.folding.refused import Refused

_MOST_FILL = 1.25  # carried channels may grow by so much to fill groups, where groups are a choice


@dataclasses.dataclass(frozen=True)
class PlainSkip:
    """A skip connection that is carried through its branch.

    Attributes:
        join: str, the addition that is gone.
        start: str, the layer whose output the skip takes.
        how: str, how its channels are carried.
        channels: int, carried beside those of the branch.
        into: str, the layer that adds them.
    """

    join: str
    start: str
    how: str
    channels: int
    into: str


def make_plain(network, grouped=True):
    """Takes all additions out of a network.

    Args:
        network: `Network`, changed in place.
        grouped: bool, whether a convolution between others gets groups where the sizes allow it, one for its own
            channels and others for those carried. False makes it dense, with zeros.

    Returns: `(list of PlainSkip, dict join -> reason)`; the network is of no use if there are reasons.
    Source: Meng et al. 2021, RMNet, arXiv:2111.00687, section 3: "reserving" and "merging".
    """
    skips, reasons = [], {}
    for step in network.in_order():
        if len(step.inputs) < 2:
            continue
        try:
            if step.kind != "sum":
                raise Refused(step.why_other if step.why_other.startswith("adds") else _why_no_sum(step))
            skips += _take_out(network, step, grouped)
        except Refused as refused:
            reasons[step.name] = str(refused)
    if not reasons:
        _absorb_added(network)
    return skips, reasons


def _why_no_sum(step):
    kind = type(step.layer).__name__
    return f"joins {len(step.inputs)} tensors by {kind}, which no filter of a convolution does"


def _take_out(network, join, grouped):
    """Takes an addition out, one summand after the other."""
    skips, summands = [], list(join.inputs)
    while len(summands) > 1:
        reasons = []
        for main, skip in _pairs(network, summands):
            try:
                tensor, record = _Reservation(network, join, main, skip, grouped).run()
            except Refused as refused:
                reasons.append(str(refused))
                continue
            skips.append(record)
            summands = [tensor if summand == main else summand for summand in summands if summand != skip]
            join.inputs = summands
            break
        else:
            raise Refused(reasons[0])
    (tensor,), (output,) = summands, join.outputs
    network.replace([join], [])
    network.bounds[tensor] = network.bounds[output]
    if output in network.outputs:  # the outputs of a model are known by the names of their layers
        name = Step("nothing", join.name, [tensor], [output], layer=_identity(join.name), dtype=join.dtype)
        network.replace([], [name])
    else:
        network.rename(output, tensor)
    network.prune()
    return skips


def _identity(name):
    return keras.layers.Identity(name=name.replace("/", "_"))


def _pairs(network, summands):
    """`(summand of the branch, summand of the skip)`, the longer way taken for the branch first."""
    pairs = list(itertools.permutations(summands, 2))
    return sorted(pairs, key=lambda pair: -_length(network, *pair))


def _length(network, main, other):
    tensors = {tensor for tensor, _ in network.upwards(other)}
    way = [tensor for tensor, _ in network.upwards(main)]
    return next((place for place, tensor in enumerate(way) if tensor in tensors), -1)


class _Reservation:
    """One skip on its way through one branch."""

    def __init__(self, network, join, main, skip, grouped):
        self.network, self.join, self.grouped = network, join, grouped
        self.start, self.branch, skip_steps = self._ways(main, skip)
        self._check_branch(main)
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
            where = " and ".join(f"'{step.name}' ({type(step.layer).__name__})" for step in ends) or "inputs"
            raise Refused(f"its two sides do not begin at one tensor: they end at {where}")
        if place == 0:
            raise Refused("what it adds lies on the way to its other side, which is the shorter one")
        start = up[place][0]
        branch = [step for _, step in up[:place]][::-1]
        return start, branch, [step for _, step in beside[: tensors.index(start)]][::-1]

    def _check_branch(self, main):
        for step in self.branch:
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
        reasons = []
        last = len(branch) - 1
        is_pixelwise = set(self.skip.taps) <= {1}
        for place in [last] if is_pixelwise else [at for at in range(last, -1, -1) if branch[at].is_dense]:
            try:
                plan = _Plan(self, branch, place)
                steps = plan.run()
            except Refused as refused:
                reasons.append(f"'{branch[place].name}' {refused}" if not str(refused).startswith(("'", "the")) else
                               str(refused))  # fmt: skip
                continue
            tensor = new_tensor()
            steps[-1].outputs = [tensor]
            self.network.replace(self.branch, steps)
            self.network.left_out += [step.name for step in self.branch if _is_random(step)]
            producer = self.network.producer(self.start)
            start = producer.name if producer is not None else "the input"
            return tensor, PlainSkip(self.join.name, start, plan.in_words(), plan.count, steps[-1].name)
        raise Refused(reasons[0] if reasons else "no convolution of its branch can take it in")

    def _added(self, what, channels, sizes):
        """A 1x1 layer that gives what it reads; the carried channels come to it as to any other."""
        return Step(
            "linear",
            f"{self.join.name}_{what}",
            [],
            [],
            window=_one_tap(np.eye(channels), np.zeros(channels), self.rank),
            axis=self.axis,
            rank=self.rank,
            sizes=sizes,
            dtype=self.branch[0].dtype,
        )


def _is_random(step):
    """Whether it does something in training."""
    kind = type(step.layer).__name__
    return step.kind == "nothing" and ("Dropout" in kind or "Noise" in kind)


def _one_tap(matrix, bias, rank):
    """The `Window` of a 1x1 convolution; `matrix` is `(in, out)`."""
    ones = (1,) * rank
    return Window(matrix.reshape(*ones, *matrix.shape), bias, ones, (0,) * rank, False)


def _channels_behind(branch, channels):
    for step in branch:
        if step.kind == "linear":
            channels = step.window.channels[1]
    return channels


class _Plan:
    """The new steps of a branch, the skip's own window applied at a place in it.

    Args:
        reservation: `_Reservation`.
        branch: list of `Step`, a dense one last.
        place: index of the step that applies the skip's window.
    """

    def __init__(self, reservation, branch, place):
        self.reservation, self.branch, self.place = reservation, branch, place
        self.skip, self.rank = reservation.skip, reservation.rank
        self.last = len(branch) - 1
        name = reservation.network.producer(reservation.start)
        what = f"what '{name.name}' gives" if name is not None else "the model's input"
        bounds = reservation.start_bounds
        self.before = self._carried(bounds, branch[:place], what) if place > self._first() else None
        self.behind = None
        if place < self.last:
            what = "what the skip's own convolution gives"
            self.behind = self._carried(bounds.through(self.skip), branch[place : self.last], what)
        if self.skip.is_padded and self.before is not None and self.before.has_shift:
            raise Refused("pads with zeros, which a shift of the carried channels would have to reach too")

    @property
    def count(self):
        return max(carried.count for carried in (self.before, self.behind) if carried is not None)

    def in_words(self):
        return "; behind its own convolution ".join(
            carried.in_words() for carried in (self.before, self.behind) if carried is not None
        )

    def _first(self):
        return next(place for place, step in enumerate(self.branch) if step.kind == "linear")

    def _carried(self, bounds, steps, what):
        activations = [(step.name, step.activation) for step in steps if step.activation is not None]
        found = carry(bounds, activations, what)
        return found.filled(self._multiple(found.count, steps))

    def _multiple(self, count, steps):
        """The number of channels that groups ask for, 1 if none do."""
        multiple, is_first = 1, True
        for step in steps:
            if step.kind != "linear":
                continue
            size, out = step.window.kernel.shape[-2], step.window.channels[1] // step.window.groups
            is_first, was_first = False, is_first
            if was_first or size != out:
                continue
            wanted = math.lcm(multiple, size)
            is_choice = step.window.groups == 1
            if (self.reservation.grouped or not is_choice) and -(-count // wanted) * wanted <= _MOST_FILL * count:
                multiple = wanted
        return multiple

    def run(self):
        """List of the new steps, chained."""
        self.places = Places(self._sizes(), self.rank)
        self.own, self.state = None, None  # channels of the branch, and what is carried beside them
        tensor, steps = self.reservation.start, []
        for place, step in enumerate(self.branch):
            made = self._step(place, step)
            made.inputs, made.outputs = [tensor], [new_tensor()]
            tensor = made.outputs[0]
            steps.append(made)
        return steps

    def _sizes(self):
        return self.reservation.branch[0].sizes

    def _step(self, place, step):
        if step.kind == "linear":
            if place == self.place:
                return self._joining(place, step)
            return self._linear(place, step)
        if step.kind in ("pad", "pick"):
            self.places.pass_through(step)
            return step.changed()
        if step.kind == "scale":
            ones, zeros = np.ones(self.state.count), np.zeros(self.state.count)
            scale = np.concatenate([step.window.kernel.reshape(-1), ones])
            return step.changed(window=Window.scaling(scale, np.concatenate([step.window.bias, zeros]), self.rank))
        if step.slopes is not None:
            shape = list(step.slopes.shape)
            shape[step.axis - 1] = self.state.count
            return step.changed(slopes=np.concatenate([step.slopes, np.ones(shape)], axis=step.axis - 1))
        return step.changed()

    def _linear(self, place, step):
        """A step that carries: its own filters and Dirac ones."""
        target = [0] * self.rank if set(self.skip.taps) - {1} else [-before for before in self.skip.before]
        window = step.window
        if place == self.last:  # behind the place: the skip's own output is added
            (tap,) = self.places.taps_of_skip(step, Window.identity(window.channels[1], self.rank)).values()
            return self._with(step, _below(window, {tap: self.state.decode.T}), self.state.constant, is_added=True)
        if place > self.place:
            target = [0] * self.rank
        tap = self.places.dirac_tap(step, target)
        if self.state is None:  # its input holds the tensor itself
            self.state = self.before
            return self._with(step, _beside(window, tap, self.before.encode.T), self.before.offset)
        size, out = window.kernel.shape[-2], window.channels[1] // window.groups
        count = self.state.count
        is_grouped = size == out and count % size == 0 and (self.reservation.grouped or window.groups > 1)
        if is_grouped:
            carried = np.zeros((*window.taps, size, count))
            channels = np.arange(count)
            carried[(*tap, channels % size, channels)] = 1.0
            kernel = np.concatenate([window.kernel, carried], axis=-1)
            groups = window.groups + count // size
            return self._with(step, dataclasses.replace(window, kernel=kernel, groups=groups), np.zeros(count))
        return self._with(step, _block(_ungrouped(window), tap, np.eye(count)), np.zeros(count))

    def _joining(self, place, step):
        """The step that applies the skip's window."""
        taps = self.places.taps_of_skip(step, self.skip)
        skip = _ungrouped(self.skip)
        decode = np.eye(skip.channels[0]) if self.state is None else self.state.decode
        constant = np.zeros(skip.channels[0]) if self.state is None else self.state.constant
        kernels = {there: decode.T @ skip.kernel[tap] for tap, there in taps.items()}
        bias = skip.bias + constant @ skip.kernel.sum(axis=tuple(range(self.rank)))
        self.places = Places((None,) * self.rank, self.rank)
        if place == self.last:
            return self._with(step, _below(step.window, kernels), bias, is_added=True)
        encode = self.behind.encode.T
        kernels = {there: kernel @ encode for there, kernel in kernels.items()}
        offset = self.behind.offset + self.behind.encode @ bias
        window = step.window
        own = window.channels[0]
        inputs = own if self.state is None else own + self.state.count
        first = 0 if self.state is None else own
        kernel = np.zeros((*window.taps, inputs, window.channels[1] + self.behind.count))
        kernel[..., :own, : window.channels[1]] = window.kernel
        for tap, matrix in kernels.items():
            kernel[(*tap, slice(first, None), slice(window.channels[1], None))] += matrix
        self.state = self.behind
        return self._with(step, dataclasses.replace(window, kernel=kernel), offset)

    @staticmethod
    def _with(step, window, bias, is_added=False):
        """The step with another window, whose bias has that of the carried channels, or it is added."""
        bias = step.window.bias + bias if is_added else np.concatenate([step.window.bias, bias])
        return step.changed(window=dataclasses.replace(window, bias=bias))


def _ungrouped(window):
    """The same window with one group, zeros between the channels of different ones."""
    if window.groups == 1:
        return window
    size, out = window.kernel.shape[-2], window.channels[1] // window.groups
    kernel = np.zeros((*window.taps, *window.channels))
    for group in range(window.groups):
        outputs = slice(group * out, (group + 1) * out)
        kernel[..., group * size : (group + 1) * size, outputs] = window.kernel[..., outputs]
    return dataclasses.replace(window, kernel=kernel, groups=1)


def _beside(window, tap, matrix):
    """More outputs: `matrix`, `(in, more)`, of the input at one tap."""
    more = np.zeros((*window.taps, window.kernel.shape[-2], matrix.shape[1]))
    more[tap] = matrix
    return dataclasses.replace(window, kernel=np.concatenate([window.kernel, more], axis=-1))


def _below(window, matrices):
    """More inputs: `{tap: (more, out)}`."""
    (count, out) = next(iter(matrices.values())).shape
    more = np.zeros((*window.taps, count, out))
    for tap, matrix in matrices.items():
        more[tap] += matrix
    return dataclasses.replace(window, kernel=np.concatenate([window.kernel, more], axis=-2))


def _block(window, tap, matrix):
    """More inputs and outputs apart from the others: `matrix`, `(more in, more out)`, at one tap."""
    own_in, own_out = window.channels
    kernel = np.zeros((*window.taps, own_in + matrix.shape[0], own_out + matrix.shape[1]))
    kernel[..., :own_in, :own_out] = window.kernel
    kernel[(*tap, slice(own_in, None), slice(own_out, None))] = matrix
    return dataclasses.replace(window, kernel=kernel)


def _absorb_added(network):
    """Puts 1x1 layers that were added into the convolution before them, where nothing else reads that."""
    for step in list(network.steps):
        if step.kind != "linear" or step.layer is not None:
            continue
        before = network.producer(step.inputs[0])
        is_free = before is not None and before.is_dense and not before.has_activation
        if not is_free or not network.is_read_once(step.inputs[0]):
            continue
        merged = before.changed(window=behind(before.window, step.window), outputs=step.outputs)
        network.replace([before, step], [merged])
