"""Where the scale and shift of a BatchNormalization can go, exactly: into layers before it, or behind it."""

import math
from dataclasses import dataclass, field

import keras
import numpy as np

from dirac_keras.folding.rules import RULES, has_rule, is_batch_normalization


class Refused(Exception):
    """Why a BatchNormalization cannot be folded in a direction, as a sentence without its subject."""


@dataclass
class Edits:
    """What one BatchNormalization does to others: `{id(layer): (layer, side, scale, shift, calls)}`."""

    of_layer: dict = field(default_factory=dict)

    def add(self, call, side, scale, shift):
        layer = call.operation
        known = self.of_layer.setdefault(id(layer), (layer, side, scale, shift, []))
        if known[1] != side or not (np.array_equal(known[2], scale) and np.array_equal(known[3], shift)):
            raise Refused(f"'{layer.name}' is shared and would need different weights in its calls")
        if not any(call is other for other in known[4]):
            known[4].append(call)

    def check_shared(self, graph):
        for layer, _, _, _, calls in self.of_layer.values():
            if len(calls) != len(graph.calls_of[id(layer)]):
                raise Refused(f"'{layer.name}' is shared and also called elsewhere")


def find_edits(graph, layer, rules):
    """Looks for layers that can absorb `layer`, a BatchNormalization, first before it, then behind it.

    Args:
        graph: `Graph`.
        layer: BatchNormalization layer.
        rules: function, layer -> its `Rule` or None.

    Returns: `Edits`.
    Raises: Refused: with the reasons of both directions.
    """
    calls = graph.calls_of[id(layer)]
    if any(call.training for call in calls):
        raise Refused("it is called with training=True and uses the batch's own statistics")
    scale, shift = rules(layer).affine()
    reasons = []
    for walk, end, place in ((_push_up, "inputs", "before it"), (_push_down, "outputs", "behind it")):
        try:
            edits = Edits()
            for call in calls:
                axis = rules(layer).channel_axis(len(call.input_shapes[0]))
                walk(_Walk(graph, rules, edits), getattr(call, end)[0], axis, scale, shift)
            edits.check_shared(graph)
            return edits
        except Refused as refused:
            reasons.append(f"{place}: {refused}")
    raise Refused("; ".join(reasons))


@dataclass
class _Walk:
    graph: object
    rules: object
    edits: Edits


def _push_up(walk, tensor, axis, scale, shift):
    """Makes `tensor` be `scale * tensor + shift` by changing the layers that produce it."""
    call = walk.graph.producer.get(tensor)
    if call is None:
        raise Refused("comes straight from an input of the model")
    name = _name(call.operation)
    if tensor in walk.graph.outputs:
        raise Refused(f"{name} is also an output of the model")
    if len(walk.graph.consumers[tensor]) != 1:
        raise Refused(f"{name} has other consumers too")
    rule = walk.rules(call.operation)
    if rule is not None:
        rank = len(call.output_shapes[0])
        reason = rule.refuses_output()
        if reason is None and rule.channel_axis(rank) != axis:
            reason = f"has its channels on another axis than {axis}"
        if reason is None and is_batch_normalization(call.operation) and call.training:
            reason = "is called with training=True"
        if reason:
            raise Refused(f"{name} {reason}")
        return walk.edits.add(call, "output", scale, shift)
    if _is_op(call.operation, "Add") and _same_shapes(call, 2):
        for index, source in enumerate(call.inputs):
            _push_up(walk, source, axis, scale, shift if index == 0 else np.zeros_like(shift))
        return None
    if _is_op(call.operation, "Concatenate"):
        for source, part in _concatenated(call, axis):
            _push_up(walk, source, axis, scale[part], shift[part])
        return None
    source_axis = _axis_before(call, axis)
    reason = _commutes(call, source_axis, scale, shift)
    if reason:
        raise Refused(f"{name} {reason}")
    return _push_up(walk, call.inputs[0], source_axis, scale, shift)


def _push_down(walk, tensor, axis, scale, shift):
    """Lets every consumer of `scale * tensor + shift` take `tensor` instead."""
    if tensor in walk.graph.outputs:
        raise Refused("it is an output of the model")
    consumers = walk.graph.consumers.get(tensor, [])
    if not consumers:
        raise Refused("nothing uses it")
    for call in {id(call): call for call in consumers}.values():
        _into_consumer(walk, call, tensor, axis, scale, shift)


def _into_consumer(walk, call, tensor, axis, scale, shift):
    name = _name(call.operation)
    rank = len(call.input_shapes[0])
    rule = walk.rules(call.operation)
    if rule is not None:
        reason = rule.refuses_input(shift)
        if reason is None and rule.channel_axis(rank) != axis:
            reason = f"has its channels on another axis than {axis}"
        if reason:
            raise Refused(f"{name} {reason}")
        return walk.edits.add(call, "input", scale, shift)
    if _is_op(call.operation, "Concatenate"):
        pieces = _concatenated(call, axis)
        total = pieces[-1][1].stop
        whole_scale, whole_shift = np.ones(total), np.zeros(total)
        for source, part in pieces:
            if source == tensor:
                whole_scale[part], whole_shift[part] = scale, shift
        return _push_down(walk, call.outputs[0], axis, whole_scale, whole_shift)
    if type(call.operation) is keras.layers.Flatten:
        positions = _flattened_positions(call, axis)
        return _push_down(walk, call.outputs[0], 1, np.tile(scale, positions), np.tile(shift, positions))
    reason = _commutes(call, axis, scale, shift)
    if reason:
        raise Refused(f"{name} {reason}")
    return _push_down(walk, call.outputs[0], _axis_behind(call, axis), scale, shift)


# Layers that a scale and a shift per channel pass through -------------------------------------------------
_IDENTITY_AT_INFERENCE = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
)
_POOLING = {
    "average": (keras.layers.AveragePooling1D, keras.layers.AveragePooling2D, keras.layers.AveragePooling3D),
    "max": (keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D),
    "global average": (
        keras.layers.GlobalAveragePooling1D,
        keras.layers.GlobalAveragePooling2D,
        keras.layers.GlobalAveragePooling3D,
    ),
    "global max": (
        keras.layers.GlobalMaxPooling1D,
        keras.layers.GlobalMaxPooling2D,
        keras.layers.GlobalMaxPooling3D,
    ),
}
_COPYING = (  # every output position is one input position; interpolation between them has weights of sum 1
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
)
_ZERO_PADDING = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)


def _commutes(call, axis, scale, shift):
    """Why `f(scale * x + shift) = scale * f(x) + shift` fails here, or None; `axis` is the input's."""
    layer = call.operation
    kind = type(layer)
    if axis is None:
        return "moves the channels"
    if kind in _IDENTITY_AT_INFERENCE or (kind is keras.layers.Activation and _is_linear(layer)):
        return "is called with training=True" if call.training else None
    if kind is keras.layers.Reshape:
        same = axis == len(call.input_shapes[0]) - 1 and call.input_shapes[0][-1] == call.output_shapes[0][-1]
        return None if same and call.output_shapes[0][-1] is not None else "moves the channels"
    if kind in (*sum(_POOLING.values(), ()), *_COPYING, *_ZERO_PADDING):
        if len(call.inputs) != 1:
            return "has a mask"
        if _channel_axis(layer, len(call.input_shapes[0])) != axis:
            return f"works across axis {axis}"
        if kind in (*_POOLING["max"], *_POOLING["global max"]) and np.any(scale < 0):
            return "takes a maximum, which a negative scale would turn into a minimum"
        if kind in _ZERO_PADDING and np.any(shift != 0):
            return "pads with zeros, which the shift would have to reach too"
        if getattr(layer, "interpolation", "nearest") not in ("nearest", "bilinear"):
            return f"interpolates ({layer.interpolation})"
        return None
    if isinstance(layer, keras.layers.Layer) and not _is_keras(layer):
        return "is a layer without a rule"
    return "neither has a kernel nor lets a scale and shift per channel pass through"


def _axis_before(call, axis):
    if type(call.operation) in (*_POOLING["global average"], *_POOLING["global max"]):
        return _channel_axis(call.operation, len(call.input_shapes[0]))
    if type(call.operation) is keras.layers.Reshape:
        return len(call.input_shapes[0]) - 1 if axis == len(call.output_shapes[0]) - 1 else None
    return axis


def _axis_behind(call, axis):
    if type(call.operation) in (*_POOLING["global average"], *_POOLING["global max"]):
        return axis if call.operation.keepdims else 1
    if type(call.operation) is keras.layers.Reshape:
        return len(call.output_shapes[0]) - 1
    return axis


def _channel_axis(layer, rank):
    return 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else rank - 1


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


def _same_shapes(call, at_least):
    return len(call.inputs) >= at_least and len(set(call.input_shapes)) == 1


def _is_op(operation, name):
    """Whether it is Keras' own layer or raw operation of this name (`keras.ops.add`, `keras.layers.Add`)."""
    return type(operation).__name__ == name and _is_keras(operation)


def _is_keras(operation):
    return type(operation).__module__.split(".")[0] == "keras"


def _is_linear(layer):
    return layer.activation is keras.activations.linear


def _name(operation):
    return f"'{operation.name}' ({type(operation).__name__})"


def rule_of(operation, known):
    """The rule of a layer, made once; None if its type has none."""
    if id(operation) not in known and has_rule(operation):
        known[id(operation)] = RULES[type(operation)](operation)
    return known.get(id(operation))
