"""How a scale and a shift get through operations that have no rule."""

from dirac_keras.folding.passages import moving, pieces, sums, unchanged, windows  # each fills the registry
from dirac_keras.folding.passages.registry import Passage, own_affine, passage_of, why_no_passage

__all__ = ["Passage", "moving", "own_affine", "passage_of", "pieces", "sums", "unchanged", "why_no_passage", "windows"]
