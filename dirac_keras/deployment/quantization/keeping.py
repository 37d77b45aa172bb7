"""Layers left in higher precision, within a budget: those whose rounding costs the outputs most."""

import dataclasses
import itertools
import math

from dirac_keras.graph.costs import count_costs

BUDGETS = ("parameters", "macs")
LEAST_GAIN = 0.02  # decibels, for which layers more are kept: the budget says what may be spent


@dataclasses.dataclass(frozen=True)
class KeptStep:
    """Layers that were left in float together: one, or a run of neighbours.

    Attributes:
        paths: tuple of str.
        share: float, of the network's parameters or multiply-accumulates in layers that could be quantized, 0 to 1.
        gain: float, decibels of the outputs' SQNR, beside those before it in the list, as it is expected.
    """

    paths: tuple
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


def choose_kept(costs, budget, noise, least_gain=LEAST_GAIN):
    """Layers to keep, in runs of neighbours: those that take most noise away for what they cost.

    A layer in float between two of integers takes its weights' noise away and no more: what it reads and what it gives
    is rounded for its neighbours. Only between two layers in float no tensor is rounded. So each step adds the run of
    layers, one or several in the order of computation, that takes most noise away in relation to what it costs. A
    second try takes the most noise whatever it costs. The better one is returned, without layers that gain nothing.

    Args:
        costs: dict, path -> share, in the order of computation.
        budget: number, the most that the shares may sum to.
        noise: function of a set of paths to the power of the outputs' noise that is left with these in float.
        least_gain: decibels.

    Returns: tuple of `KeptStep`.
    """
    tries = [_pruned(_grown(costs, budget, noise, least_gain, by_cost), noise, least_gain) for by_cost in (True, False)]
    runs = min(tries, key=lambda runs: noise({path for run in runs for path in run}))
    steps, kept, level = [], set(), noise(set())
    for run in runs:
        kept |= set(run)
        left = noise(kept)
        steps.append(KeptStep(run, sum(costs[path] for path in run), _decibels(level, left)))
        level = left
    return tuple(steps)


def _grown(costs, budget, noise, least_gain, by_cost):
    """Runs of layers, one step after another."""
    kept, runs, level = set(), [], noise(set())
    while level > 0:
        best = None
        for run in _runs(costs, budget - sum(costs[path] for path in kept), kept):
            left = noise(kept | set(run))
            if _decibels(level, left) < least_gain:
                continue
            worth = (level - left) / (max(sum(costs[path] for path in run), 1e-9) if by_cost else 1.0)
            if best is None or worth > best[0]:
                best = worth, run, left
        if best is None:
            break
        _, run, level = best
        kept |= set(run)
        runs.append(run)
    return runs


def _pruned(runs, noise, least_gain):
    """The same runs without layers whose loss costs less than the least gain; the last ones go first."""
    kept = {path for run in runs for path in run}
    level = noise(kept)
    for path in [path for run in runs for path in run][::-1]:
        without = noise(kept - {path})
        if _decibels(without, level) < least_gain:
            kept, level = kept - {path}, without
    runs = [tuple(path for path in run if path in kept) for run in runs]
    return [run for run in runs if run]


def _runs(costs, budget, kept):
    """Tuples of the paths that are not kept yet in each run of layers that fits."""
    paths, found = list(costs), set()
    for start in range(len(paths)):
        run, cost = (), 0.0
        for path in itertools.islice(paths, start, None):
            if path not in kept:
                run, cost = (*run, path), cost + costs[path]
            if cost > budget + 1e-12:
                break
            if run:
                found.add(run)
    return sorted(found, key=lambda run: (paths.index(run[0]), len(run)))


def _decibels(before, after):
    return math.inf if after <= 0 else 10 * math.log10(before / after)
