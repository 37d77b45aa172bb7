"""Input pipelines: named datasets and image folders as exact, resumable streams of normalised batches."""

from pipelines.datasets import load_splits
from pipelines.spec import DataError, DataSpec, Splits

__all__ = ["DataError", "DataSpec", "Splits", "load_splits"]
