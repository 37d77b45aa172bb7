"""Parallel linear branches that meet in an addition, merged into one convolution."""

from dirac_keras.folding.branches.merging import merge_branches

__all__ = ["merge_branches"]
