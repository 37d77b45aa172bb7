"""Random graphs of layers and operations, each from one seed, and what becomes of them when they are folded.

`python -m tests.folding.graphs --graphs 200 --seed 0` prints counts by outcome and the seeds that fail.
"""
