"""Timings side by side, as ratios in one run: `python -m benchmarks --help`."""

import os

from dirac_keras.onednn import prefer_onednn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
prefer_onednn()  # as the command does
