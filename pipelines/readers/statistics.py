"""Mean and standard deviation of the pixels of a dataset that nobody has published them for."""

from __future__ import annotations

import numpy as np

from pipelines.decoding.rule import AS_VIEWERS_DO, Rule
from pipelines.engines import find_engine
from pipelines.examples import Examples
from pipelines.readers.folder import Target
from pipelines.readers.raw import some

SAMPLE = 2048


def measure(
    examples: Examples, image_shape: tuple[int, int, int], resize: int | None, rule: Rule = AS_VIEWERS_DO, engine=None
) -> tuple[tuple, tuple]:
    """Mean and standard deviation per channel, in 0..255 units, over at most `SAMPLE` images.

    A channel that never changes gets the deviation 1, so that it is only shifted.
    """
    chosen = examples.take(some(len(examples), SAMPLE))
    if chosen.images is not None:
        sample = np.asarray(chosen.images)[chosen.rows]
    else:
        images, broken = (engine or find_engine()).decode_files(chosen, Target(image_shape, resize, "skip", rule))
        sample = np.delete(images, broken, axis=0)
    levels = np.arange(256)
    mean, std = [], []
    for channel in range(image_shape[2]):  # a histogram: pixels as floats would take eight times the memory
        share = np.bincount(sample[..., channel].ravel(), minlength=256) / sample[..., channel].size
        mean.append(share @ levels)
        std.append(np.sqrt(share @ (levels - mean[-1]) ** 2))
    return tuple(round(float(m), 3) for m in mean), tuple(round(float(s), 3) or 1.0 for s in std)
