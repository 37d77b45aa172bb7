"""Skips that are gone: a `VariableSkip` with alpha = 1 adds zeros, so the addition goes and what leads to it alone."""

import keras
import numpy as np
from keras import ops

from dirac_keras.folding.report import FoldedLayer, KeptLayer
from dirac_keras.graph.layer_types import is_keras_op
from dirac_keras.layers import VariableSkip


def remove_sealed_skips(graph):
    """Takes sealed skips out of a graph.

    Args:
        graph: `Graph`, changed in place.

    Returns: cuts, the dict id(addition) -> `{place: 1}` of the summands that it keeps, constants included, in its
        flattened `(args, kwargs)`; list of `FoldedLayer`; list of `KeptLayer`, the skips that are still there and how
        much of them.
    Source: Monti, Tootoonian & Cao, section 3: "When the constraint is satisfied all skip-connections are removed."
    """
    skips = [call for call in graph.calls if type(call.operation) is VariableSkip]
    sealed = {id(skip.operation) for skip in skips if _largest(skip.operation) == 0.0}
    cuts, zeros = {}, []
    for call in [call for call in graph.calls if is_keras_op(call.operation, "Add")]:
        if len(graph.calls_of[id(call.operation)]) == 1 and (dropped := _zero_inputs(graph, call, sealed)):
            cuts[id(call.operation)] = _places_without(call, dropped)
            zeros += _cut(graph, call, dropped, cuts[id(call.operation)])
    gone = {id(call) for call in graph.prune(zeros)}
    folded = [FoldedLayer(skip.path, "sealed, so it went with its addition") for skip in skips if id(skip) in gone]
    kept = [KeptLayer(skip.path, _what_is_left(skip)) for skip in skips if id(skip) not in gone]
    return cuts, folded, kept


def _zero_inputs(graph, call, sealed):
    """Inputs that are zero; empty if dropping them could change the shape or would leave no tensor."""
    if len(set(call.input_shapes)) != 1 or len(set(call.inputs)) != len(call.inputs):
        return []
    producers = {tensor: graph.producer.get(tensor) for tensor in call.inputs}
    zeros = [tensor for tensor, made in producers.items() if made is not None and id(made.operation) in sealed]
    return zeros if len(zeros) < len(call.inputs) else []


def _places_without(call, dropped):
    gone = {id(slot) for tensor, slot in zip(call.inputs, call.slots, strict=True) if tensor in dropped}
    leaves = keras.tree.flatten((call.args, call.kwargs))
    return {place: 1.0 for place, x in enumerate(leaves) if id(x) not in gone}


def _cut(graph, call, zeros, places):
    for tensor in zeros:
        graph.cut_input(call, tensor)
    if len(places) == 1:
        graph.remove(call)
    return zeros


def _largest(layer):
    return float(np.max(np.abs(ops.convert_to_numpy(layer.skip_weight()))))


def _what_is_left(skip):
    left = ops.convert_to_numpy(skip.operation.skip_weight()).astype("float64")
    if not left.any():
        return "is sealed, but is no part of an addition of equal shapes that could go without it"
    return (
        f"its skip is still there: (1 - alpha) is {left.mean():.3g} on average, from {left.min():.3g} to "
        f"{left.max():.3g}; the mean of its square is {np.mean(np.square(left)):.3g}"
    )
