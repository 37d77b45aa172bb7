"""What is known of the numbers in each tensor, whatever the input: bounds for each channel, proven on the graph."""

import dataclasses

import keras
import numpy as np

from dirac_keras.conversion.activations import activation_of, function_of
from dirac_keras.folding.branches.reading import channel_axis, window_of
from dirac_keras.folding.branches.tree import factors_of, has_constants
from dirac_keras.folding.refused import Refused
from dirac_keras.graph.layer_types import raw_operation_name

_SAME = (
    *(keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D),
    *(keras.layers.AveragePooling1D, keras.layers.AveragePooling2D, keras.layers.AveragePooling3D),
    *(keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D, keras.layers.GlobalAveragePooling3D),
    *(keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D, keras.layers.GlobalMaxPooling3D),
    *(keras.layers.UpSampling1D, keras.layers.Cropping1D, keras.layers.Cropping2D, keras.layers.Cropping3D),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Bounds:
    """The lowest and highest number that a channel can have: float64 arrays `(channels,)`, infinite where unknown."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def unknown(cls, channels):
        return cls(np.full(channels, -np.inf), np.full(channels, np.inf))

    def with_zero(self):
        return Bounds(np.minimum(self.low, 0.0), np.maximum(self.high, 0.0))

    def map(self, function):
        """Behind a function that does not decrease."""
        return Bounds(function(self.low), function(self.high))

    def through(self, window):
        """Behind a `Window`."""
        known = self.with_zero() if window.is_padded else self
        taps = tuple(range(window.kernel.ndim - 2))
        positive = np.maximum(window.kernel, 0.0).sum(axis=taps)
        negative = np.minimum(window.kernel, 0.0).sum(axis=taps)
        return Bounds(
            _summed(positive, known.low, negative, known.high, window.groups, -np.inf) + window.bias,
            _summed(positive, known.high, negative, known.low, window.groups, np.inf) + window.bias,
        )


def sum_of(summands):
    """The `Bounds` of a sum with factors: `[(Bounds, factor)]`."""
    low, high = 0.0, 0.0
    for bounds, factor in summands:
        if factor == 0.0:  # nothing of it, whatever it is
            ends = np.zeros_like(bounds.low), np.zeros_like(bounds.low)
        else:
            ends = factor * bounds.low, factor * bounds.high
        low, high = low + np.minimum(*ends), high + np.maximum(*ends)
    return Bounds(low, high)


def _summed(positive, for_positive, negative, for_negative, groups, infinite):
    """`positive x + negative y`, by groups; infinite where a number that counts is."""
    total = 0.0
    for weights, values in ((positive, for_positive), (negative, for_negative)):
        by_group = weights.reshape(weights.shape[0], groups, -1)
        values = values.reshape(groups, -1)
        finite = np.isfinite(values)
        total = total + np.einsum("igo,gi->go", by_group, np.where(finite, values, 0.0))
        is_hit = np.einsum("igo,gi->go", (by_group != 0.0).astype("float64"), (~finite).astype("float64")) > 0.0
        total = np.where(is_hit, infinite, total)
    return total.reshape(-1)


def bounds_of(graph, rules, input_bounds=None):
    """Bounds of every tensor.

    Args:
        graph: `Graph` of a folded model.
        rules: `Rules`.
        input_bounds: None, or dict of the model's inputs.

    Returns: `(bounds, axes)`: dict tensor -> `Bounds`, where its channels are known; dict tensor -> their axis.
    """
    bounds, axes = dict(input_bounds or {}), {}
    for call in graph.calls:
        axis = channel_axis(call, rules)
        if axis is None:
            axis = next((axes[tensor] for tensor in call.inputs if tensor in axes), None)
        for tensor, shape in zip(call.outputs, call.output_shapes, strict=True):
            rank = len(shape)
            axes[tensor] = axis if axis is not None and axis < rank else rank - 1
            if rank < 2 or shape[axes[tensor]] is None:
                continue
            known = _behind(graph, call, rules, axes[tensor], bounds)
            bounds[tensor] = known if known is not None else Bounds.unknown(shape[axes[tensor]])
    for tensor in graph.inputs:
        channels = _channels_of_input(graph, tensor, axes)
        if channels is not None and tensor not in bounds and tensor not in graph.integers:
            bounds[tensor] = Bounds.unknown(channels)
    return bounds, axes


def _channels_of_input(graph, tensor, axes):
    """The number of channels that all who read an input of the model see in it; None if it is open or they differ."""
    counts = set()
    for call in graph.consumers.get(tensor, []):
        shape, axis = call.input_shapes[call.inputs.index(tensor)], axes[call.outputs[0]]
        counts.add(shape[axis] if 0 < axis < len(shape) else None)
    return counts.pop() if len(counts) == 1 else None


def _behind(graph, call, rules, axis, bounds):
    """Bounds of the output of a call; None where nothing is known."""
    operation = call.operation
    channels = call.output_shapes[0][axis]
    read = [bounds.get(tensor) for tensor in call.inputs]
    if (factors := factors_of(graph, call)) is not None:
        if has_constants(call):
            return None
        summands = [(bounds.get(tensor), factor) for tensor, factor in factors.items()]
        return None if None in read else sum_of(summands)
    if type(operation) is keras.layers.Concatenate:
        if None in read or operation.axis % len(call.output_shapes[0]) != axis:
            return None
        return Bounds(np.concatenate([one.low for one in read]), np.concatenate([one.high for one in read]))
    if len(set(call.inputs)) != 1 or len(call.outputs) != 1:
        return None
    known = read[0]
    if known is None:
        known = Bounds.unknown(call.input_shapes[0][axis] or 1) if len(call.input_shapes[0]) > axis else None
    if known is None:
        return None
    if activation := activation_of(operation):
        return known.map(activation.function) if known.low.size == channels else None
    if type(operation) in _SAME or raw_operation_name(operation) in ("MaxPool", "AveragePool"):
        return known if known.low.size == channels else None
    if type(operation) is keras.layers.Flatten:
        return Bounds(np.full(channels, known.low.min()), np.full(channels, known.high.max()))
    try:
        window = window_of(call, rules, axis, with_activation=True)
    except Refused:
        return None
    if window.channels[0] != known.low.size:
        return None
    result = known.through(window)
    function = getattr(operation, "activation", None)
    if function is None:
        return result
    activation = function_of(function)
    return result.map(activation.function) if activation else None
