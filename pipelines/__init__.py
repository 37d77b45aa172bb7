"""Input pipelines: named datasets and image folders as exact, resumable streams of normalised batches."""

from pipelines.datasets import load_splits
from pipelines.examples import DataError, DataSpec
from pipelines.moved import announce_moves
from pipelines.splits import Splits

__all__ = ["DataError", "DataSpec", "Splits", "load_splits"]

announce_moves()
