"""Weights and statistics that are no numbers."""

import dataclasses

import keras
import numpy as np

from dirac_keras.graph.nested import all_layers
from dirac_keras.listing import listed


@dataclasses.dataclass(frozen=True)
class NotFinite:
    """One weight of a layer with values that are NaN or infinite, or a variance below 0.

    Attributes:
        layer: str, the layer's name.
        weight: str, the weight's name, such as `kernel`.
        count, size: int, how many of its values.
    """

    layer: str
    weight: str
    count: int
    size: int

    def __str__(self):
        return f"{self.layer}/{self.weight} ({self.count:,} of {self.size:,})"


def nonfinite_weights(model):
    """List of `NotFinite`, in the order of the layers; a weight that layers share is named once.

    Args:
        model: built `keras.Model`, any one.
    """
    found, seen = [], set()
    for layer in [*all_layers(model), model]:
        for weight in layer.weights:
            if id(weight) in seen:
                continue
            seen.add(id(weight))
            count = _count(weight)
            if count:
                owner = layer.name if layer is not model else weight.path.rpartition("/")[0] or model.name
                found.append(NotFinite(owner, weight.name, count, int(np.prod(weight.shape))))
    return found


def describe_nonfinite(found, most=5):
    """`conv1/kernel (3 of 432), ... and 7 more`, or `""`."""
    return listed(found, most)


def _count(weight):
    if "float" not in keras.backend.standardize_dtype(weight.dtype):
        return 0
    values = keras.ops.convert_to_numpy(weight).astype("float64", copy=False)  # float32 would end at 3e38
    wrong = ~np.isfinite(values)
    if weight.name in ("moving_variance", "variance"):
        wrong |= values < 0  # its root is NaN
    return int(np.count_nonzero(wrong))
