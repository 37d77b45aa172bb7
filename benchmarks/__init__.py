"""Timings side by side, as ratios in one run: `python -m benchmarks --help`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
