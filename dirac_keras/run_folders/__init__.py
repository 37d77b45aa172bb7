"""Runs that are on disk, read without Keras: what they are, how they stand, what of them can go."""

from dirac_keras.run_folders.finding import find_runs, survey
from dirac_keras.run_folders.pruning import Pruning, plan_pruning, prune
from dirac_keras.run_folders.reading import STATUSES, Runs, read_run, read_runs
from dirac_keras.run_folders.sorting import ORDERS, sort_runs

__all__ = [
    "ORDERS",
    "STATUSES",
    "Pruning",
    "Runs",
    "find_runs",
    "plan_pruning",
    "prune",
    "read_run",
    "read_runs",
    "sort_runs",
    "survey",
]
