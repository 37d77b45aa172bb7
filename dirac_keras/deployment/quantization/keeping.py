"""Layers left in higher precision, within a budget: those whose rounding costs the outputs most."""

import dataclasses
import math

from dirac_keras.graph.costs import count_costs

BUDGETS = ("parameters", "macs")


@dataclasses.dataclass(frozen=True)
class KeptStep:
    """One layer that was left in float.

    Attributes:
        path: str.
        share: float, of the network's parameters or multiply-accumulates in layers that could be quantized, 0 to 1.
        gain: float, decibels of the outputs' SQNR, beside those before it in the list, where it was chosen.
    """

    path: str
    share: float
    gain: float


def shares(network, of, sample_shape):
    """dict, path -> share of the parameters or multiply-accumulates of the layers that are quantized; they sum to 1.

    Args:
        network: `Network`.
        of: one of `BUDGETS`.
        sample_shape: of one image.
    """
    if of == "parameters":
        costs = {path: sum(math.prod(w.shape) for w in layer.weights) for path, layer in network.layers.items()}
    else:
        macs = count_costs(network.model, [(1, *sample_shape)]).macs
        costs = {path: macs.get(path, 0) for path in network.layers}
    total = sum(costs.values()) or 1
    return {path: cost / total for path, cost in costs.items()}


def choose_kept(costs, budget, measure, least_gain=0.1):
    """Greedy: the layer that gains most, as long as the budget allows and something is gained.

    A gain is measured anew only where the last one measured makes the layer the best candidate: gains mostly shrink as
    others are kept.

    Args:
        costs: dict, path -> share.
        budget: number, the most that the shares may sum to.
        measure: function of a tuple of paths to the SQNR with these in float, decibels.
        least_gain: decibels.

    Returns: tuple of `KeptStep`.
    Source: lazy evaluation, Minoux 1978, doi.org/10.1007/BFb0006528.
    """
    kept, steps, level = (), [], measure(())
    gains = {path: math.inf for path in costs}
    while True:
        left = budget - sum(costs[path] for path in kept)
        fitting = [path for path in gains if path not in kept and costs[path] <= left + 1e-12]
        fresh = set()
        while fitting:
            best = max(fitting, key=gains.get)
            if best in fresh:
                break
            gains[best] = measure((*kept, best)) - level
            fresh.add(best)
        if not fitting or not gains[best] >= least_gain:
            return tuple(steps)
        kept, level = (*kept, best), level + gains[best]
        steps.append(KeptStep(best, costs[best], gains[best]))
