"""Grad-CAM: the channels of a layer over its positions, weighed by what the class score gains by them."""

import numpy as np
from keras import ops

from dirac_keras.explanation.derivative import gradient


def gradcam(network, place, images, targets):
    """`ReLU(sum_k alpha_k A_k)` with `alpha_k` the mean over the positions of the score's gradient by `A_k`.

    Args:
        network: `ScoredNetwork`.
        place: `Place`, the layer with the maps `A`.
        images: array `(batch, height, width, channels)`.
        targets: array of int `(batch,)`.

    Returns: array float32 `(batch, rows, columns)`, a position of the layer each.
    Source: Selvaraju et al. 2017, arXiv:1610.02391, eq. 1 and 2.
    """
    found = []
    positions = tuple(axis for axis in (1, 2, 3) if axis != place.channel_axis)
    for (part, classes), count in network.chunks([images, targets]):
        maps, score = network.behind(part, place.tensor)
        _, slope = gradient(lambda value, s=score, c=classes: (ops.sum(s(value, c)), ()), maps)
        weights = ops.mean(slope, axis=positions, keepdims=True)  # eq. 1
        weighed = ops.relu(ops.sum(weights * maps, axis=place.channel_axis))  # eq. 2
        found.append(ops.convert_to_numpy(ops.cast(weighed, "float32"))[:count])
    return np.concatenate(found)
