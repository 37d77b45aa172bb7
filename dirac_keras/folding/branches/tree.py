"""Trees of additions: their summands, and taking some off."""

import keras

from dirac_keras.graph.layer_types import is_keras_op


def is_addition(graph, call):
    """Whether a call adds tensors of one shape, each once."""
    return (
        is_keras_op(call.operation, "Add")
        and len(graph.calls_of[id(call.operation)]) == 1
        and len(call.inputs) == len(set(call.inputs))
        and len(call.inputs) > 1  # with a constant alone it is a shift
        and set(call.input_shapes) == {call.output_shapes[0]}
        and not any(tensor in graph.integers for tensor in call.inputs)
    )


def is_summand(graph, call):
    """Whether the sum is read by another addition alone."""
    (tensor,) = call.outputs
    readers = graph.consumers.get(tensor, [])
    return len(readers) == 1 and tensor not in graph.outputs and is_addition(graph, readers[0])


def summands_of(graph, call):
    """`[(addition, tensor)]` of the leaves of the tree."""
    leaves = []
    for tensor in call.inputs:
        made = graph.producer.get(tensor)
        is_inner = made is not None and is_addition(graph, made) and is_summand(graph, made)
        leaves += summands_of(graph, made) if is_inner else [(call, tensor)]
    return leaves


def cut_branches(graph, cuts, root, branches):
    """Takes branches off a tree of additions, and what nothing else reads with them.

    Args:
        graph: `Graph`, changed in place.
        cuts: dict, id(addition) -> places of the summands that it keeps, changed in place.
        root: call of the last addition.
        branches: list of `Branch`.
    """
    gone = {}
    for branch in branches:
        gone.setdefault(id(branch.addition), []).append(branch.tensor)
    _cut_addition(graph, cuts, root, gone)
    graph.prune([branch.tensor for branch in branches])


def _cut_addition(graph, cuts, call, gone):
    """Takes summands off a tree of additions. Returns: whether anything is left of it."""
    dropped = list(gone.get(id(call), []))
    for tensor in call.inputs:
        made = graph.producer.get(tensor)
        is_inner = made is not None and is_addition(graph, made) and is_summand(graph, made)
        if tensor not in dropped and is_inner and not _cut_addition(graph, cuts, made, gone):
            dropped.append(tensor)
    if not dropped:
        return True
    key = id(call.operation)
    leaves = keras.tree.flatten((call.args, call.kwargs))
    slots = {id(slot) for tensor, slot in zip(call.inputs, call.slots, strict=True) if tensor in dropped}
    before = cuts.get(key, range(len(leaves)))
    places = [place for place in before if id(leaves[place]) not in slots]
    if not places:
        return False
    cuts[key] = places
    for tensor in dropped:
        graph.cut_input(call, tensor)
        graph.prune([tensor])
    if len(places) == 1:
        graph.remove(call)
    return True
