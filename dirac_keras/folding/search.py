"""Where the scale and shift of a BatchNormalization can go, exactly: into layers before it, or behind it."""

import math
from dataclasses import dataclass, field

import keras
import numpy as np

from dirac_keras.folding.affine import Affine
from dirac_keras.folding.passing import axis_before, axis_behind, why_not_passed
from dirac_keras.folding.rules import is_batch_normalization
from dirac_keras.graph.layer_types import is_keras_op


class Refused(Exception):
    """Why a BatchNormalization cannot be folded in a direction, as a sentence without its subject."""


@dataclass
class Edit:
    """A layer that absorbs `affine` on one `side`, "input" or "output", and its calls in which it would."""

    layer: object
    side: str
    affine: Affine
    calls: list = field(default_factory=list)


class Edits:
    """What one BatchNormalization does to other layers, one `Edit` a layer."""

    def __init__(self):
        self._of_layer = {}  # id(layer) -> Edit

    def __iter__(self):
        return iter(self._of_layer.values())

    def add(self, call, side, affine):
        """Raises: Refused: if another call of the same layer needs other numbers."""
        layer = call.operation
        edit = self._of_layer.setdefault(id(layer), Edit(layer, side, affine))
        if edit.side != side or not edit.affine.has_same_numbers(affine):
            raise Refused(f"'{layer.name}' is shared and would need different weights in its calls")
        if not any(call is other for other in edit.calls):
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

    Returns: `Edits`.
    Raises: Refused: with the reasons of both directions.
    """
    calls = graph.calls_of[id(layer)]
    if any(call.training for call in calls):
        raise Refused("it is called with training=True and uses the batch's own statistics")
    rule = rules.of(layer)
    reasons = []
    for direction, place in ((_Upwards, "before it"), (_Downwards, "behind it")):
        try:
            walk = direction(graph, rules)
            for call in calls:
                walk.begin(call, Affine(rule.channel_axis(len(call.input_shapes[0])), *rule.affine()))
            walk.edits.check_shared(graph)
            return walk.edits
        except Refused as refused:
            reasons.append(f"{place}: {refused}")
    raise Refused("; ".join(reasons))


class _Walk:
    """One direction through the graph, and the edits that it asks for."""

    def __init__(self, graph, rules):
        self.graph, self.rules = graph, rules
        self.edits = Edits()


class _Upwards(_Walk):
    def begin(self, call, affine):
        self.push(call.inputs[0], affine)

    def push(self, tensor, affine):
        """Makes `tensor` be `scale * tensor + shift` by changing the layers that produce it."""
        call = self.graph.producer.get(tensor)
        if call is None:
            raise Refused("comes straight from an input of the model")
        name = _name(call.operation)
        if tensor in self.graph.outputs:
            raise Refused(f"{name} is also an output of the model")
        if len(self.graph.consumers[tensor]) != 1:
            raise Refused(f"{name} has other consumers too")
        rule = self.rules.of(call.operation)
        if rule is not None:
            reason = rule.refuses_output() or _other_axis(rule, call.output_shapes[0], affine.axis)
            if reason is None and is_batch_normalization(call.operation) and call.training:
                reason = "is called with training=True"
            if reason:
                raise Refused(f"{name} {reason}")
            self.edits.add(call, "output", affine)
        elif is_keras_op(call.operation, "Add") and len(call.inputs) >= 2 and len(set(call.input_shapes)) == 1:
            for index, source in enumerate(call.inputs):
                self.push(source, affine if index == 0 else affine.without_shift())
        elif is_keras_op(call.operation, "Concatenate"):
            for source, part in _concatenated(call, affine.axis):
                self.push(source, affine.part(part))
        else:
            before = affine.on_axis(axis_before(call, affine.axis))
            _check_passed(call, before)
            self.push(call.inputs[0], before)


class _Downwards(_Walk):
    def begin(self, call, affine):
        self.push(call.outputs[0], affine)

    def push(self, tensor, affine):
        """Lets every consumer of `scale * tensor + shift` take `tensor` instead."""
        if tensor in self.graph.outputs:
            raise Refused("it is an output of the model")
        consumers = self.graph.consumers.get(tensor, [])
        if not consumers:
            raise Refused("nothing uses it")
        for call in {id(call): call for call in consumers}.values():
            self._into(call, tensor, affine)

    def _into(self, call, tensor, affine):
        rule = self.rules.of(call.operation)
        if rule is not None:
            reason = rule.refuses_input(affine.shift) or _other_axis(rule, call.input_shapes[0], affine.axis)
            if reason:
                raise Refused(f"{_name(call.operation)} {reason}")
            self.edits.add(call, "input", affine)
            return
        if is_keras_op(call.operation, "Concatenate"):
            pieces = _concatenated(call, affine.axis)
            behind = affine.spread([part for source, part in pieces if source == tensor], total=pieces[-1][1].stop)
        elif type(call.operation) is keras.layers.Flatten:
            behind = affine.flattened(_flattened_positions(call, affine.axis))
        else:
            _check_passed(call, affine)
            behind = affine.on_axis(axis_behind(call, affine.axis))
        self.push(call.outputs[0], behind)


def _other_axis(rule, shape, axis):
    return None if rule.channel_axis(len(shape)) == axis else f"has its channels on another axis than {axis}"


def _check_passed(call, affine):
    reason = why_not_passed(call, affine)
    if reason:
        raise Refused(f"{_name(call.operation)} {reason}")


def _concatenated(call, axis):
    """`[(tensor, slice of the channels)]` of a concatenation along `axis`."""
    rank = len(call.output_shapes[0])
    sizes = [shape[axis] for shape in call.input_shapes]
    if call.operation.axis % rank != axis or None in sizes:
        raise Refused(f"{_name(call.operation)} concatenates along another axis than the channels")
    stops = np.cumsum(sizes)
    return [(tensor, slice(stop - size, stop)) for tensor, size, stop in zip(call.inputs, sizes, stops, strict=True)]


def _flattened_positions(call, axis):
    *positions, _ = call.input_shapes[0][1:]
    if axis != len(call.input_shapes[0]) - 1 or call.operation.data_format != "channels_last" or None in positions:
        raise Refused(f"{_name(call.operation)} moves the channels")
    return math.prod(positions)


def _name(operation):
    return f"'{operation.name}' ({type(operation).__name__})"
