"""Parallel linear branches that meet in an addition, merged into one convolution."""

from dirac_keras.folding.branches.merging import merge_branches
from dirac_keras.folding.branches.tree import factor_of_one, is_sum, write_factor, write_factors

__all__ = ["factor_of_one", "is_sum", "merge_branches", "write_factor", "write_factors"]
