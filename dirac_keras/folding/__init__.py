"""Folding: a trained network as a plain Keras model, Dirac and normalization layers merged into kernels."""

from dirac_keras.folding.fusion import fold
from dirac_keras.folding.plain import assert_plain
from dirac_keras.folding.report import DroppedPart, FoldedLayer, FoldReport, KeptLayer, SharedLayer

__all__ = ["DroppedPart", "FoldReport", "FoldedLayer", "KeptLayer", "SharedLayer", "assert_plain", "fold"]
