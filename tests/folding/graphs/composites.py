"""Layers and models of a user's own that hold other layers, with normalizations inside."""

import keras
from keras import layers

from tests.folding.graphs.catalogue import part


@keras.saving.register_keras_serializable(package="graphs")
class ConvolutionBlock(layers.Layer):
    """A convolution or dense layer, its normalization, an activation."""

    def __init__(self, units, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.units, self.axis = units, axis
        self.linear = layers.Dense(units, dtype=self.dtype_policy)
        self.normalization = layers.BatchNormalization(axis=axis, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.linear.build(input_shape)
        self.normalization.build((*input_shape[:-1], self.units))

    def call(self, inputs, training=None):
        return keras.ops.relu(self.normalization(self.linear(inputs), training=training))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "axis": self.axis}


@keras.saving.register_keras_serializable(package="graphs")
class Stack(layers.Layer):
    """Blocks in a list, some of them functional models."""

    def __init__(self, units, count=2, **kwargs):
        super().__init__(**kwargs)
        self.units, self.count = units, count
        self.blocks = [ConvolutionBlock(units, dtype=self.dtype_policy) for _ in range(count)]

    def build(self, input_shape):
        for block in self.blocks:
            block.build(input_shape)
            input_shape = (*input_shape[:-1], self.units)

    def call(self, inputs, training=None):
        for block in self.blocks:
            inputs = block(inputs, training=training)
        return inputs

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "count": self.count}


@keras.saving.register_keras_serializable(package="graphs")
class SubclassedHead(keras.Model):
    """A subclassed model, whose graph nobody sees."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.linear = layers.Dense(units, dtype=self.dtype_policy)
        self.normalization = layers.BatchNormalization(dtype=self.dtype_policy)

    def build(self, input_shape):
        self.linear.build(input_shape)
        self.normalization.build((*input_shape[:-1], self.units))

    def call(self, inputs, training=None):
        return self.normalization(self.linear(inputs), training=training)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@part(weight=2, fits=lambda site, x: x.shape[-1] is not None)
def composite(site, x):
    kind = site.choices.pick([ConvolutionBlock, Stack, SubclassedHead])
    return kind(site.filters())(x)
