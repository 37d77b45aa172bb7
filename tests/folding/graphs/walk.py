"""Adds parts, one behind the other or beside it, to the tensors that a graph has."""

from tests.folding.graphs.catalogue import PARTS

MOST_NUMBERS = 40_000  # of a tensor of one sample; larger ones would only take time


def add_parts(site, tensors, count):
    """Lets `count` random parts follow the latest tensor, now and then an earlier one.

    Args:
        site: `Site`.
        tensors: list of symbolic tensors.
        count: int.

    Returns: the tensors and those that came.
    """
    tensors = list(tensors)
    for _ in range(count):
        earlier = len(tensors) > 1 and site.choices.chance(0.15)
        x = tensors[site.choices.integer(0, len(tensors) - 1)] if earlier else tensors[-1]
        fitting = {part: part.weight for part in PARTS if part.can_follow(site, x)}
        if not fitting:
            continue
        outputs = site.choices.weighted(fitting).function(site, x)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        tensors += [y for y in outputs if _is_usable(site, y)]
    return tensors


def _is_usable(site, tensor):
    numbers = 1
    for length in tensor.shape[1:]:
        numbers *= 16 if length is None else length
    return len(tensor.shape) >= 2 and 0 < numbers <= MOST_NUMBERS and site.channels(tensor) is not None
