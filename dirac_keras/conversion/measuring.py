"""What running a network shows: how long a call takes, and what it costs."""

import logging
import statistics
import time

from dirac_keras.folding import fold
from dirac_keras.folding.sample import line_of
from dirac_keras.graph.costs import count_costs
from dirac_keras.graph.samples import random_inputs

logger = logging.getLogger("dirac_keras")


def latencies(model, plain, rounds):
    """Median seconds of a call on one sample, of a model as it folds and of the plain one, in turn.

    Args:
        rounds: int, calls of each; 0: none.

    Returns: dict of the fields of a `Certificate`; empty if a side of the inputs is open, or the model does not run, as
        one of channels_first on a CPU, which is logged.
    """
    if not rounds or any(None in tensor.shape[1:] for tensor in model.inputs):
        return {}
    folded, _ = fold(model, verify=False)
    try:
        before, after = _in_turn((folded, plain), rounds)
    except Exception as error:  # of whatever kind: the model's own code runs here
        logger.warning("the latency is not measured: '%s' does not run here (%s)", model.name, line_of(error))
        return {}
    return {"latency_before": before, "latency_after": after}


def _in_turn(models, rounds):
    inputs = random_inputs(models[0], [(1, *tensor.shape[1:]) for tensor in models[0].inputs])
    seconds = [[] for _ in models]
    for place in range(rounds + 1):
        for model, values in zip(models, seconds, strict=True):
            start = time.perf_counter()
            model.predict_on_batch(inputs)
            if place:  # the first call compiles
                values.append(time.perf_counter() - start)
    return [statistics.median(values) for values in seconds]


def macs(model):
    """Multiply-accumulates of one sample; None if a size is open."""
    costs = count_costs(model)
    return None if costs.uncounted else costs.total
