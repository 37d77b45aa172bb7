"""Small networks and data for the tests of an evaluation."""

import dataclasses

import numpy as np

from pipelines.examples import DataSpec

MARKUP = "<img src=x onerror=alert(1)>"


def spec_of(names, shape=(8, 8, 1), task="classes", mean=40.0, std=70.0):
    """A `DataSpec` of so many names."""
    channels = shape[-1]
    spec = DataSpec("made", shape, len(names), tuple(names), (mean,) * channels, (std,) * channels, None, 0, 0, 0)
    return dataclasses.replace(spec, task=task)


def batches_of(images, truth, spec, size=7):
    """Batches of pixels as a network takes them."""
    scaled = (images.astype("float32") - np.float32(spec.mean)) / np.float32(spec.std)
    for start in range(0, len(images), size):
        yield scaled[start : start + size], truth[start : start + size]


def told(answers, size=None):
    """A predictor that gives the rows of an array one after the other, whatever the images are."""
    rows = iter(np.asarray(answers, "float64"))
    return lambda images: np.stack([next(rows) for _ in range(len(images))])
