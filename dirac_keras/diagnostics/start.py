"""An untrained network as its first step of training sees it: on a few batches, normalized by their own statistics."""

import math

import keras
import numpy as np

IMAGES = 512
MAX_ELEMENTS = 2**27  # of one tensor over all images, 512 MiB in float32
UNKNOWN_SIDE = 224  # of images whose size the model leaves open


def first_images(network, stream, images=IMAGES):
    """The first images of a stream of batches in one.

    Args:
        network: `Network`.
        stream: iterable of `(inputs, labels)`, as `data.batches` gives them.
        images: int, at most; fewer where one tensor of the network would hold more than `MAX_ELEMENTS`.

    Returns: `(inputs, labels)`: a list with an array for each input of the model, and an array or None.
    """
    sizes = [
        math.prod(side or UNKNOWN_SIDE for side in shape[1:])
        for call in network.graph.calls
        for shape in call.output_shapes
    ]
    limit = max(2, min(images, MAX_ELEMENTS // max(sizes)))
    inputs, labels, count = [], [], 0
    for some, classes in stream:
        inputs.append(some)
        labels.append(classes)
        count += len(some[0])
        if count >= limit:
            break
    together = [np.concatenate(parts)[:limit] for parts in zip(*inputs, strict=True)]
    return together, None if labels[0] is None else np.concatenate(labels)[:limit]


def take_statistics(network, inputs):
    """Gives every BatchNormalization the mean and variance of `inputs`, with which a step of training normalizes them.

    The moving statistics of a network that was never trained are 0 and 1, which no step uses. They are those of all
    images at once: in a deep network, small differences between the statistics of one batch and those of others grow
    from layer to layer.

    Args:
        network: `Network`; the moving statistics of its model change.
        inputs: list of arrays, one for each input of the model.
    """
    kind = keras.layers.BatchNormalization
    layers = [call.operation for call in network.graph.calls if isinstance(call.operation, kind)]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        if layers:
            network.run(inputs, training=(kind,))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
