"""Input pipelines: named datasets and image folders as exact, resumable streams of normalised batches."""

from typing import TYPE_CHECKING

from pipelines.datasets import load_splits
from pipelines.examples import DataError, DataSpec
from pipelines.given import from_arrays, from_dataset
from pipelines.moved import announce_moves
from pipelines.own_validation import has_own_validation

if TYPE_CHECKING:
    from pipelines.arrays.splits import ArraySplits
    from pipelines.splits import Splits

__all__ = ["ArraySplits", "DataError", "DataSpec", "Splits", "from_arrays", "from_dataset", "has_own_validation",
           "load_splits"]  # fmt: skip

announce_moves()

# The first needs Keras, the second TensorFlow: imported when they are asked for.
LATER = {"ArraySplits": "pipelines.arrays.splits", "Splits": "pipelines.splits"}


def __getattr__(name):
    if name not in LATER:
        raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(LATER[name]), name)
