"""Where a run is computed: one device, several of one machine, several machines, a TPU (docs/distribution.md)."""

from dirac_keras.distribution.alone import Alone
from dirac_keras.distribution.checks import refuse_what_replicas_compute_wrongly, synchronize
from dirac_keras.distribution.placement import Placement, WorkerLost
from dirac_keras.distribution.strategies import MOST_PARTS, STRATEGIES, open_strategy, split_cpu

__all__ = [
    "MOST_PARTS",
    "STRATEGIES",
    "Alone",
    "Placement",
    "WorkerLost",
    "open_strategy",
    "refuse_what_replicas_compute_wrongly",
    "split_cpu",
    "synchronize",
]
