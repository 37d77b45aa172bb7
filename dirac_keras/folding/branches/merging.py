"""Finds branches that can merge at the additions and concatenations of a graph, and merges them."""

from dirac_keras.folding.branches.addition import Addition, Merged
from dirac_keras.folding.branches.concatenation import Concatenation, is_concatenation
from dirac_keras.folding.branches.tree import is_sum, is_summand


def merge_branches(graph, rules, names, cuts):
    """Merges the linear branches that start at one tensor, and meet in a sum or concatenation, into one convolution.

    Args:
        graph: `Graph`, changed in place.
        rules: `Rules`; those of the hosts get the new kernel.
        names: dict, id(layer) -> path.
        cuts: dict, id(addition or concatenation) -> places of what it keeps, changed in place.

    Returns: `Merged`.
    Source: Ding et al. 2021, RepVGG, arXiv:2101.03697, section 3.3; Ding et al. 2021, Diverse Branch Block,
        arXiv:2103.13425, section 3.2, with the borders that "same" padding makes taken into account.
    """
    merged = Merged()
    for call in list(graph.calls):
        if is_sum(graph, call) and not is_summand(graph, call):
            Addition(graph, rules, names, cuts, merged, call).merge()
        elif is_concatenation(graph, call):
            Concatenation(graph, rules, names, cuts, merged, call).merge()
    return merged
