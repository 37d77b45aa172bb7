"""Several small dense networks as one wide network, with the loss and the metric of each.

The units of S networks stand beside each other in every layer: `(batch, S units)`. What acts on single units is the
same layer, wider; a dense layer becomes S products in one operation. The loss is the sum of the networks' losses, so
each gets its own gradient.
"""

import keras
import numpy as np
from keras import ops

from dirac_keras.constraints import MaxNorm
from dirac_keras.errors import UserError
from dirac_keras.kernels import effective_kernel, identity_kernel
from dirac_keras.layers import BatchNormalization, DiracDense, VariableSkip
from dirac_keras.training.optimization.losses import SmoothedCrossentropy

UNIT_BY_UNIT = (
    BatchNormalization,
    VariableSkip,
    keras.layers.Add,
    keras.layers.BatchNormalization,
    keras.layers.Flatten,
    keras.layers.LeakyReLU,
    keras.layers.Multiply,
    keras.layers.ReLU,
    keras.layers.Subtract,
)
CONSTRAINTS = (MaxNorm, type(None))  # which act on a unit's weights


def place_side_by_side(models):
    """One network of the units of several: `(batch, S, *input_shape)` -> `(batch, S * num_classes)`.

    Args:
        models: sequence of S functional models, alike but for their weights, of dense layers and of layers that act
            on single units. Convolutions have work enough to be trained alone.

    Returns: `keras.Model`; its variables hold those of the networks one after another on the last axis.
    Raises: ValueError: if a layer is of another kind, named.
    """
    first, count = models[0], len(models)

    def widen(layer):
        if isinstance(layer, DiracDense):
            return _ParallelDiracDense(count, layer)
        if isinstance(layer, keras.layers.Dense) and isinstance(layer.kernel_constraint, CONSTRAINTS):
            return _ParallelDense(count, layer)
        if isinstance(layer, UNIT_BY_UNIT):
            return type(layer).from_config(layer.get_config())
        raise UserError(
            f"Networks of dense layers can be placed side by side. Received '{first.name}' with layer '{layer.name}' "
            f"of type {type(layer).__name__}."
        )

    inputs = keras.Input((count, *first.input_shape[1:]), name="images")
    wide = keras.models.clone_model(first, input_tensors=inputs, clone_function=widen)
    for layer in wide.layers:
        if layer.weights:
            parts = [model.get_layer(layer.name).get_weights() for model in models]
            layer.set_weights([join(values) for values in zip(*parts, strict=True)])
    return wide


def take_apart(wide, models):
    """Copy the weights of a network that `place_side_by_side` made back into the networks it was made of."""
    values = layer_values(wide)
    for index, model in enumerate(models):
        give_part(model, values, index, len(models))


def layer_values(wide):
    """The weights of each layer of a network, by its name."""
    return {layer.name: layer.get_weights() for layer in wide.layers if layer.weights}


def give_part(model, values, index, count):
    """Give a network its part, of `count`, of the `layer_values` of the wide one."""
    for name, parts in values.items():
        model.get_layer(name).set_weights([part(value, index, count) for value in parts])


def join(values):
    """The values of a variable of several networks as that of the wide one."""
    return np.concatenate(values, axis=-1) if values[0].ndim else values[0]  # a step count is common to all


def part(value, index, count):
    """The value of one network's variable of that of the wide one."""
    return np.split(value, count, axis=-1)[index] if value.ndim else value


class _ParallelDense(keras.layers.Layer):
    """`count` dense layers: `(batch, count * in)` -> `(batch, count * units)`."""

    def __init__(self, count, dense):
        super().__init__(name=dense.name, dtype=dense.dtype_policy)
        self.count = count
        self.units = dense.units
        self.activation = dense.activation
        self.use_bias = dense.use_bias
        self.kernel_constraint = dense.kernel_constraint  # which must act on the columns, a unit each

    def build(self, input_shape):
        self.in_units = input_shape[-1] // self.count
        self.kernel = self.add_weight(
            name="kernel", shape=(self.in_units, self.count * self.units), constraint=self.kernel_constraint
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.count * self.units,))

    def call(self, inputs):
        inputs = ops.transpose(ops.reshape(inputs, (-1, self.count, self.in_units)), (1, 0, 2))
        kernels = ops.reshape(self.effective_kernel(), (self.in_units, self.count, self.units))
        outputs = ops.matmul(inputs, ops.transpose(kernels, (1, 0, 2)))  # (count, batch, units)
        outputs = ops.reshape(ops.transpose(outputs, (1, 0, 2)), (-1, self.count * self.units))
        return self.activation(outputs + self.bias if self.use_bias else outputs)

    def effective_kernel(self):
        return ops.convert_to_tensor(self.kernel)


class _ParallelDiracDense(_ParallelDense):
    """`count` layers `DiracDense`."""

    def __init__(self, count, dense):
        super().__init__(count, dense)
        self.use_identity_scale = dense.use_identity_scale
        self.use_weight_norm = dense.use_weight_norm

    def build(self, input_shape):
        super().build(input_shape)
        outputs = (self.count * self.units,)
        self.identity_scale = self.add_weight(name="identity_scale", shape=outputs) if self.use_identity_scale else None
        self.filter_scale = self.add_weight(name="filter_scale", shape=outputs) if self.use_weight_norm else None
        self.identity = np.tile(identity_kernel((self.in_units, self.units)), (1, self.count))

    def effective_kernel(self):
        kernel, identity = ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.identity)
        return effective_kernel(kernel, identity, self.identity_scale, self.filter_scale)


class SumOfCrossentropies(keras.losses.Loss):
    """Sum over networks side by side of each one's cross-entropy.

    Call: `y_true` `(batch, S)` integers, `y_pred` `(batch, S * classes)` logits.
    """

    def __init__(self, count, label_smoothing=0.0, name="crossentropy"):
        super().__init__(name=name)
        self.count = count
        self.single = SmoothedCrossentropy(label_smoothing)

    def call(self, y_true, y_pred):
        return ops.sum(crossentropies(y_true, y_pred, self.count, self.single), axis=-1)


def crossentropies(y_true, y_pred, count, single):
    """Loss of every example and network, `(batch, S)`."""
    logits = ops.reshape(y_pred, (-1, y_pred.shape[-1] // count))
    return ops.reshape(single.call(ops.reshape(y_true, (-1,)), logits), (-1, count))


class PerNetwork(keras.metrics.Metric):
    """`loss/0`, `accuracy/0`, `loss/1`, ...: loss and accuracy of each network side by side."""

    def __init__(self, count, label_smoothing=0.0, name="per_network"):
        super().__init__(name=name)
        self.count = count
        self.single = SmoothedCrossentropy(label_smoothing)
        self.losses = self.add_variable(shape=(count,), initializer="zeros", name="losses")
        self.correct = self.add_variable(shape=(count,), initializer="zeros", name="correct")
        self.examples = self.add_variable(shape=(), initializer="zeros", name="examples")

    def update_state(self, y_true, y_pred, sample_weight=None):
        losses = crossentropies(y_true, y_pred, self.count, self.single)
        chosen = ops.argmax(ops.reshape(y_pred, (-1, self.count, y_pred.shape[-1] // self.count)), axis=-1)
        hits = ops.cast(ops.equal(chosen, ops.cast(y_true, chosen.dtype)), "float32")
        self.losses.assign_add(ops.sum(losses, axis=0))
        self.correct.assign_add(ops.sum(hits, axis=0))
        self.examples.assign_add(ops.cast(ops.shape(hits)[0], "float32"))

    def result(self):
        found = {}
        for index in range(self.count):
            found[f"loss/{index}"] = self.losses[index] / ops.maximum(self.examples, 1.0)
            found[f"accuracy/{index}"] = self.correct[index] / ops.maximum(self.examples, 1.0)
        return found
