"""Parallel linear branches that meet in an addition, merged into one convolution."""

from dirac_keras.folding.branches.merging import merge_branches
from dirac_keras.folding.branches.tree import is_addition

__all__ = ["is_addition", "merge_branches"]
