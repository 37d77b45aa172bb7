"""Trees of sums: their summands with the factors that they have in them, and taking some off."""

from collections import Counter
from dataclasses import dataclass

import keras

from dirac_keras.graph.layer_types import is_keras_op


@dataclass(frozen=True)
class Summand:
    """A tensor that a tree of sums adds, the call that reads it, and its factor in the whole tree."""

    addition: object
    tensor: int
    factor: float


def factors_of(graph, call):
    """`{tensor: factor}` of a call that adds tensors of one shape: `Add`, `Subtract`, `Average`; None for others.

    A tensor that is added twice has the factor 2. One tensor alone is no sum: `x + x` is a scale, as `2 * x` is.
    """
    if set(call.input_shapes) != {call.output_shapes[0]}:
        return None
    if any(tensor in graph.integers for tensor in call.inputs):
        return None
    factors = call.factors if call.factors is not None else _own_factors(call)
    if factors is None:
        return None
    found = Counter()
    for tensor, factor in zip(call.inputs, factors, strict=True):
        found[tensor] += factor
    return dict(found) if len(found) > 1 else None


def factor_of_one(call):
    """The factor of `x` in a sum of it alone, as `x + x`; None where the call is another one."""
    factors = call.factors if call.factors is not None else _own_factors(call)
    return None if factors is None or has_constants(call) else sum(factors)


def _own_factors(call):
    """A factor for each input; None for a call that is no sum of tensors."""
    operation, count = call.operation, len(call.inputs)
    if is_keras_op(operation, "Add"):
        return None if has_constants(call) and len(set(call.inputs)) < count else [1.0] * count
    if has_constants(call):
        return None
    if is_keras_op(operation, "Subtract"):
        return [1.0, -1.0]
    return [1.0 / count] * count if type(operation) is keras.layers.Average else None


def has_constants(call):
    """Whether a call reads anything beside tensors of the graph."""
    leaves = keras.tree.flatten((call.args, call.kwargs))
    return any(not isinstance(leaf, keras.KerasTensor) for leaf in leaves if leaf is not None)


def is_sum(graph, call):
    """Whether a call adds tensors of one shape, perhaps with factors, by an operation that is called nowhere else."""
    return len(graph.calls_of[id(call.operation)]) == 1 and factors_of(graph, call) is not None


def is_summand(graph, call):
    """Whether the sum is read by another sum alone."""
    (tensor,) = call.outputs
    readers = graph.consumers.get(tensor, [])
    return len(readers) == 1 and tensor not in graph.outputs and is_sum(graph, readers[0])


def summands_of(graph, call, factor=1.0):
    """List of `Summand`: the leaves of the tree."""
    leaves = []
    for tensor, own in factors_of(graph, call).items():
        inner = _inner(graph, tensor)
        leaves += summands_of(graph, inner, factor * own) if inner else [Summand(call, tensor, factor * own)]
    return leaves


def _inner(graph, tensor):
    """The sum that makes a summand, if it is a branch of the tree in its turn; None for a leaf."""
    made = graph.producer.get(tensor)
    is_inner = made is not None and is_sum(graph, made) and is_summand(graph, made) and not has_constants(made)
    return made if is_inner else None


def cut_branches(graph, cuts, root, gone, host):
    """Takes summands off a tree of sums, and what nothing else reads with them.

    The factors of what is left go to the leaves; the host's, which has those of all in its kernel, is 1.

    Args:
        graph: `Graph`, changed in place.
        cuts: dict, id(addition) -> `{place: factor}` of the summands that it keeps, changed in place.
        root: call of the last sum.
        gone: list of `Summand`.
        host: `Summand`, the one that stays for them.
    """
    factors = {(id(leaf.addition), leaf.tensor): leaf.factor for leaf in summands_of(graph, root)}
    factors[id(host.addition), host.tensor] = 1.0
    for leaf in gone:
        del factors[id(leaf.addition), leaf.tensor]
    _cut_addition(graph, cuts, root, factors)
    graph.prune([leaf.tensor for leaf in gone])


def _cut_addition(graph, cuts, call, leaves):
    """Takes summands off a tree of sums.

    Args:
        leaves: dict, `(id(addition), tensor)` -> the new factor of a leaf that stays.

    Returns: the factor that is left for the sum; None if nothing is left of it.
    """
    factors, kept = factors_of(graph, call), {}
    for tensor in factors:
        place, inner = call.inputs.index(tensor), _inner(graph, tensor)
        left = leaves.get((id(call), tensor)) if inner is None else _cut_addition(graph, cuts, inner, leaves)
        if left is not None:
            kept[place] = left
    if not kept:
        return None
    if len(kept) == len(call.inputs) and [*kept.values()] == [*factors.values()]:
        return 1.0
    write_factors(graph, cuts, call, kept)
    if len(cuts[id(call.operation)]) > 1:
        return 1.0
    (factor,) = kept.values()
    cuts[id(call.operation)] = dict.fromkeys(cuts[id(call.operation)], 1.0)
    graph.remove(call)
    return factor


def write_factors(graph, cuts, call, kept):
    """Makes a sum that of some of its inputs, with other factors.

    Args:
        graph: `Graph`, changed in place.
        cuts: dict, id(addition) -> `{place: factor}` of its flattened `(args, kwargs)`, changed in place.
        call: of the sum.
        kept: dict, place in `call.inputs` -> factor.
    """
    leaves = keras.tree.flatten((call.args, call.kwargs))
    before = cuts.get(id(call.operation), range(len(leaves)))
    factors = {id(call.slots[place]): factor for place, factor in kept.items()}
    cuts[id(call.operation)] = {
        place: factors.pop(id(leaves[place]), 1.0)
        for place in before
        if id(leaves[place]) in factors or not isinstance(leaves[place], keras.KerasTensor)
    }
    dropped = [tensor for place, tensor in enumerate(call.inputs) if place not in kept]
    for tensor in set(call.inputs):
        graph.consumers[tensor] = [other for other in graph.consumers[tensor] if other is not call]
    call.keep_inputs(kept)
    for tensor in call.inputs:
        graph.consumers[tensor].append(call)
    if not has_constants(call):
        call.factors = list(kept.values())
    graph.prune([tensor for tensor in dropped if tensor not in call.inputs])


def write_factor(cuts, call, place, factor):
    """Gives an input of a sum with `factors` another one; `place` is that among its inputs, `cuts` is changed."""
    call.factors[place] = factor
    leaves = keras.tree.flatten((call.args, call.kwargs))
    found = next(at for at in cuts[id(call.operation)] if leaves[at] is call.slots[place])
    cuts[id(call.operation)][found] = factor
