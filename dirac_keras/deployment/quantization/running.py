"""A network run call by call on a whole set of images, so that each layer is computed once and can be looked at."""

import math

import keras
import numpy as np

from dirac_keras.graph.execution import apply_call

BATCH_BYTES = 64 << 20  # of the largest tensor of a batch
MEMORY_BYTES = 3 << 30  # of all tensors that are held at a time, of one network


class Tensors:
    """The tensors of a `Network` on a set of images, as far as calls to come read them.

    Attributes:
        network: `Network`.
        values: dict, number of a tensor -> array `(images, ...)`.
    """

    def __init__(self, network, images):
        self.network = network
        self.values = {network.input: np.asarray(images, "float32")}
        self._batch = batch_size(network)
        self._readers = {tensor: 1 for tensor in network.outputs}
        for call in network.calls:
            for tensor in set(call.inputs):
                self._readers[tensor] = self._readers.get(tensor, 0) + 1

    def outputs_of(self, call):
        """What a call gives: list of arrays; nothing is kept of them."""
        count, parts = len(self.values[call.inputs[0]]), []
        for start in range(0, count, self._batch):
            batch = {
                tensor: keras.ops.convert_to_tensor(self.values[tensor][start : start + self._batch])
                for tensor in set(call.inputs)
            }
            given = keras.tree.flatten(apply(self.network, call, batch))
            parts.append([np.asarray(keras.ops.convert_to_numpy(value)) for value in given])
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def store(self, call, outputs):
        """Keep the outputs of a call as far as others read them, and forget inputs that were read for the last time."""
        for tensor, value in zip(call.outputs, outputs, strict=True):
            if self._readers.get(tensor):
                self.values[tensor] = value
        for tensor in set(call.inputs):
            self._readers[tensor] -= 1
            if not self._readers[tensor]:
                self.values.pop(tensor, None)

    def results(self):
        """The outputs of the network, side by side: `(images, numbers)`."""
        arrays = [self.values[tensor] for tensor in self.network.outputs]
        return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def run(network, images, change=None):
    """The outputs (`Tensors.results`) of a network.

    Args:
        network: `Network`.
        images: array `(images, ...)`.
        change: None, or function `(number of a tensor, array) -> array`: what the rest of the network reads.
    """
    tensors = Tensors(network, images)
    change = change or (lambda tensor, value: value)
    tensors.values[network.input] = change(network.input, tensors.values[network.input])
    for call in network.calls:
        outputs = tensors.outputs_of(call)
        tensors.store(call, [change(t, value) for t, value in zip(call.outputs, outputs, strict=True)])
    return tensors.results()


def batch_size(network):
    """How many images make a batch."""
    largest = max((_numbers(shape) for call in network.calls for shape in call.output_shapes), default=1)
    return int(np.clip(BATCH_BYTES // (4 * largest), 1, 128))


def most_images(network, memory=MEMORY_BYTES):
    """Of how many images the tensors fit into memory at a time."""
    readers = {}
    for call in network.calls:
        for tensor in set(call.inputs):
            readers[tensor] = readers.get(tensor, 0) + 1
    shapes = {network.input: tuple(network.model.inputs[0].shape)}
    live, largest = {network.input: 0}, 1
    for call in network.calls:
        shapes |= zip(call.outputs, call.output_shapes, strict=True)
        live |= {tensor: _numbers(shapes[tensor]) for tensor in call.outputs}
        largest = max(largest, sum(live.values()))
        for tensor in set(call.inputs):
            readers[tensor] -= 1
            if not readers[tensor] and tensor not in network.outputs:
                live.pop(tensor, None)
    return max(1, memory // (4 * largest))


def _numbers(shape):
    return math.prod(side or 1 for side in shape[1:])


def apply(network, call, batch):
    """`graph.execution.apply_call`, without the softmax or sigmoid of the layer that gives the logits."""
    layer = call.operation
    if id(layer) != network.logits_of:
        return apply_call(call, batch)
    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        return apply_call(call, batch)
    finally:
        layer.activation = activation
