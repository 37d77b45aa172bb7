"""Where the scale and shift of a BatchNormalization can go, exactly: into layers before it, or behind it."""

from dataclasses import dataclass, field

import numpy as np

from dirac_keras.folding.affine import Affine, Numbers
from dirac_keras.folding.passages import own_affine, passage_of, why_no_passage
from dirac_keras.folding.refused import Refused


@dataclass
class Edit:
    """A layer that absorbs `affine` on one `side`, "input" or "output", and its calls in which it would."""

    layer: object
    side: str
    affine: Numbers
    calls: list = field(default_factory=list)


class Edits:
    """What one BatchNormalization does to other layers, one `Edit` a layer."""

    def __init__(self, edits=()):
        self._of_layer = {id(edit.layer): edit for edit in edits}

    def __iter__(self):
        return iter(self._of_layer.values())

    def copy(self):
        return Edits(Edit(edit.layer, edit.side, edit.affine, list(edit.calls)) for edit in self)

    def add(self, call, side, numbers):
        """Raises: Refused: if another call of the same layer needs other numbers."""
        layer = call.operation
        edit = self._of_layer.setdefault(id(layer), Edit(layer, side, numbers))
        if edit.side != side or not edit.affine.has_same_numbers(numbers):
            raise Refused("is shared and would need different weights in its calls")
        edit.calls.append(call)

    def check_shared(self, graph):
        """Raises: Refused: if a layer has calls that the edit would be wrong for."""
        for edit in self:
            if len(edit.calls) != len(graph.calls_of[id(edit.layer)]):
                raise Refused(f"'{edit.layer.name}' is shared and also called elsewhere")


def find_edits(graph, layer, rules):
    """Looks for layers that can absorb `layer`, a BatchNormalization, first before it, then behind it.

    Args:
        graph: `Graph`.
        layer: BatchNormalization layer.
        rules: `Rules`.

    Returns: `Edits`, empty if the layer changes nothing.
    Raises: Refused: with the reasons of both directions.
    """
    calls, rule = graph.calls_of[id(layer)], rules.of(layer)
    scale, shift = rule.affine()
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise Refused("it has statistics or weights that are not finite")
    if any(call.training for call in calls):
        raise Refused("it is called with training=True and uses the batch's own statistics")
    starts = []
    for call in calls:
        rank = len(call.input_shapes[0])
        starts.append((call, Affine.of_axis(rank, rule.channel_axis(rank), scale, shift)))
    return _in_either_direction(graph, starts, rules)


def find_edits_of_scale(graph, operation, rules):
    """Looks for layers before or behind an operation that can absorb it: a scale or shift by constants, as `0.3 * x`.

    Args:
        graph: `Graph`.
        operation: raw operation or layer that is its own `Affine`.
        rules: `Rules`.

    Returns: `Edits`.
    Raises: Refused: with the reason.
    """
    rule = rules.of(operation)
    if rule is not None and (reason := rule.refuses_output(0.0)):
        raise Refused(reason)
    starts = [(call, own_affine(call, rules)) for call in graph.calls_of[id(operation)]]
    return _in_either_direction(graph, starts, rules)


def find_edits_of_factor(graph, call, place, rules):
    """Looks for layers that can absorb the factor that a sum has for one of its inputs.

    Args:
        call: of the sum, with `factors`.
        place: int, of the input.

    Returns: `Edits`.
    Raises: Refused: with the reason.
    """
    tensor, rank = call.inputs[place], len(call.input_shapes[place])
    affine = Affine(np.full([1] * rank, call.factors[place]), np.zeros([1] * rank))
    return _of_walk(_Upwards(graph, rules), [(tensor, affine)])


def _in_either_direction(graph, starts, rules):
    reasons = []
    for walk, place in ((_Upwards(graph, rules), "before it"), (_Downwards(graph, rules), "behind it")):
        try:
            first = [(call.inputs[0], affine) for call, affine in starts] if type(walk) is _Upwards else starts
            return _of_walk(walk, first)
        except Refused as refused:
            reasons.append(f"{place}: {refused}")
    raise Refused("; ".join(reasons))


def _of_walk(walk, starts):
    try:
        walk.run(starts)
    except RecursionError:
        raise Refused("the way leads through too many operations") from None
    walk.edits.check_shared(walk.graph)
    return walk.edits


class _Walk:
    """One direction through the graph, and the edits that it asks for."""

    def __init__(self, graph, rules):
        self.graph, self.rules = graph, rules
        self.edits = Edits()

    def absorb(self, call, rule, side, affine):
        """Notes that the layer takes the affine of its input or output. Raises: Refused: if it cannot."""
        if call.training and rule.differs_in_training:
            raise Refused("is called with training=True")
        refuses = rule.refuses_input if side == "input" else rule.refuses_output
        if reason := refuses(affine.shift):
            raise Refused(reason)
        shapes = call.input_shapes if side == "input" else call.output_shapes
        self.edits.add(call, side, rule.fit(affine, shapes[0], side))

    def first(self, call, absorbing, passing):
        """The first attempt that is not refused; a layer that is called elsewhere too had better be passed."""
        is_shared = len(self.graph.calls_of[id(call.operation)]) > 1
        reasons = []
        for attempt in passing + absorbing if is_shared else absorbing + passing:
            before = self.edits.copy()
            try:
                return attempt()
            except Refused as refused:
                reasons.append(refused)
                self.edits = before
        raise reasons[0] if reasons else Refused(f"{_name(call)} {why_no_passage(call.operation)}")


class _Upwards(_Walk):
    """From a tensor to what produces it: a tree, since every tensor on the way may have one reader only."""

    def run(self, starts):
        for tensor, affine in starts:
            self.push(tensor, affine, "what it reads")

    def push(self, tensor, affine, what):
        """Makes `tensor` be `scale * tensor + shift` by changing the layers that produce it."""
        if affine.is_identity():
            return
        call = self.graph.producer.get(tensor)
        if call is None:
            raise Refused(f"{what} comes straight from an input of the model")
        if tensor in self.graph.outputs:
            raise Refused(f"{_name(call)} is also an output of the model")
        if len({id(reader) for reader in self.graph.consumers[tensor]}) != 1:
            raise Refused(f"{_name(call)} has other consumers too")
        index = call.outputs.index(tensor)
        if tensor in self.graph.integers:
            raise Refused(f"{_name(call)} returns integers")
        rule, passage = self.rules.of(call.operation), passage_of(call.operation)
        absorbing, passing = [], []
        if rule is not None:
            absorbing = [lambda: _named(call, self.absorb, call, rule, "output", affine)]
        if passage is not None:
            passing = [lambda: self._pass(call, passage, index, affine)]
        self.first(call, absorbing, passing)

    def _pass(self, call, passage, index, affine):
        alternatives = _named(call, passage.backward, call, index, affine)
        self.first(call, [], [lambda sources=sources: self._push_all(call, sources) for sources in alternatives])

    def _push_all(self, call, sources):
        wanted = {}
        for tensor, affine in sources:
            if not wanted.setdefault(tensor, affine).has_same_numbers(affine):
                raise Refused(f"{_name(call)} reads a tensor twice, which would need different numbers")
        for tensor, affine in wanted.items():
            self.push(tensor, affine, f"what {_name(call)} reads")


class _Downwards(_Walk):
    """From the calls of the layer to all that read it, in the order in which the graph runs."""

    def run(self, starts):
        own = {id(call) for call, _ in starts}
        carried = {call.outputs[0]: affine for call, affine in starts if not affine.is_identity()}
        for tensor in carried:
            if tensor in self.graph.outputs:
                raise Refused("it is an output of the model")
            if not self.graph.consumers.get(tensor):
                raise Refused("nothing uses it")
        for call in self.graph.calls:
            read = {tensor: carried[tensor] for tensor in call.inputs if tensor in carried}
            if not read:
                continue
            if id(call) in own:
                raise Refused("it reads what it has normalized itself")
            for tensor, affine in self._through(call, read):
                if tensor in self.graph.outputs and not affine.is_identity():
                    raise Refused(f"{_name(call)} is an output of the model")
                if not affine.is_identity():
                    carried[tensor] = affine

    def _through(self, call, read):
        """What the outputs of a call carry; nothing if its layer absorbs what it reads."""
        rule, passage = self.rules.of(call.operation), passage_of(call.operation)
        absorbing, passing = [], []
        if rule is not None:
            absorbing = [lambda: self._absorb(call, rule, read)]
        if passage is not None:
            passing = [lambda: self._pass(call, passage, read)]
        return self.first(call, absorbing, passing)

    def _absorb(self, call, rule, read):
        if len(read) > 1 or call.inputs.count(call.inputs[0]) > 1 or call.inputs[0] not in read:
            raise Refused(f"{_name(call)} reads it in another place than its input")
        _named(call, self.absorb, call, rule, "input", read[call.inputs[0]])
        return []

    def _pass(self, call, passage, read):
        if any(tensor in self.graph.integers for tensor in call.outputs):
            raise Refused(f"{_name(call)} returns integers")
        return _named(call, passage.forward, call, read)


def _named(call, function, *arguments):
    """`function(*arguments)`; a refusal gets the call as its subject."""
    try:
        return function(*arguments)
    except Refused as refused:
        raise Refused(f"{_name(call)} {refused}") from refused


def _name(call):
    return f"'{call.operation.name}' ({type(call.operation).__name__})"
