"""The network that is fine-tuned: the calls of the original one, on rounded kernels and rounded tensors."""

import keras
from keras import ops

from dirac_keras.deployment.quantization.running import apply
from dirac_keras.deployment.quantization.training.straight_through import quantize_range


class Student(keras.Model):
    """Runs a `Network`, with the kernels of some layers and the tensors between them on grids.

    Args:
        network: `Network`.
        kernels: dict, path of a layer -> `GridKernel`; the others have their own weights, which are not trained.
        limits: dict, number of a tensor -> `(low, high)`, the start of its range; the others stay in float.
        bits: int, of these tensors.
        range_momentum: number in [0, 1], or None. With a number each training step moves a range to that of its batch:
            `range = m range + (1 - m) batch`. None leaves the ranges as they are.

    Call: images -> the network's outputs (logits where it ends in a softmax) side by side, `(batch, numbers)`.
    Source of the moving ranges: Jacob et al. 2018, arXiv:1712.05877, section 3.1.
    """

    def __init__(self, network, kernels=(), limits=(), bits=8, range_momentum=None):
        super().__init__(name="student", dtype="float32")
        kernels = dict(kernels)
        self._untracked = _Untracked(network, {id(network.layers[path]): grid for path, grid in kernels.items()})
        self.grids = list(kernels.values())
        self.bits = bits
        self.range_momentum = range_momentum
        self.ranges = {
            str(tensor): self.add_weight(
                name=f"range_{tensor}",
                shape=(2,),
                trainable=False,
                initializer=lambda shape, dtype, pair=pair: ops.cast(list(pair), dtype),
            )
            for tensor, pair in dict(limits).items()
        }
        self.built = True

    def call(self, images, training=False):
        network = self._untracked.network
        values = {network.input: self._on_grid(network.input, images, training)}
        for call in network.calls:
            with keras.StatelessScope(state_mapping=self._replaced(call)):
                given = keras.tree.flatten(apply(network, call, values))
            for tensor, value in zip(call.outputs, given, strict=True):
                values[tensor] = self._on_grid(tensor, value, training)
        outputs = [values[tensor] for tensor in network.outputs]
        return ops.concatenate([ops.reshape(value, (ops.shape(value)[0], -1)) for value in outputs], axis=1)

    def _replaced(self, call):
        """The weights that a call takes instead of its layer's own: pairs for a `keras.StatelessScope`."""
        grid = self._untracked.grid_of.get(id(call.operation))
        if grid is None:
            return []
        pairs = [(call.operation.kernel, grid.kernel())]
        return pairs if grid.shift is None else [*pairs, (call.operation.bias, grid.bias())]

    def _on_grid(self, tensor, value, training):
        variable = self.ranges.get(str(tensor))
        if variable is None:
            return value
        if training and self.range_momentum is not None:
            seen = ops.stop_gradient(ops.stack([ops.min(value), ops.max(value)]))
            variable.assign(self.range_momentum * variable + (1.0 - self.range_momentum) * seen)
        ends = ops.convert_to_tensor(variable)
        return quantize_range(value, ends[0], ends[1], self.bits)


class _Untracked:
    """Keeps Keras from taking the layers of the original network for those of the student."""

    def __init__(self, network, grid_of):
        self.network, self.grid_of = network, grid_of
