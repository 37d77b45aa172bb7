"""How many images are worked on at once."""

import os

PARALLEL_CALLS = min(os.cpu_count() or 1, 16)
