"""Small networks with random weights for the tests of explanations."""

import keras
import numpy as np

# Method -> options under which it is quick, for tests that compare two networks.
QUICK = {"gradcam": {}, "integrated_gradients": {"steps": 2}, "occlusion": {"window": 4}}


def images(count=3, side=8, channels=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, side, side, channels)).astype("float32")


def randomized(model, seed=0):
    """The model with random weights, moving statistics too; variances stay above 0."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        value = random.normal(0.0, 0.3, variable.shape)
        variable.assign(np.abs(value) + 0.5 if "variance" in variable.path else value)
    return model


def linear(side=6, channels=2, classes=3, activation=None):
    inputs = keras.Input((side, side, channels))
    x = keras.layers.Flatten()(inputs)
    return randomized(keras.Model(inputs, keras.layers.Dense(classes, activation=activation, name="head")(x)))


def convolutional(side=8, classes=4, activation=None, filters=5, channels=3, name="small"):
    """Two convolutions, global average pooling, one dense layer."""
    inputs = keras.Input((side, side, channels))
    x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="first")(inputs)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="last")(x)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    return randomized(
        keras.Model(inputs, keras.layers.Dense(classes, activation=activation, name="head")(x), name=name)
    )


class Block(keras.layers.Layer):
    """A layer of layers, whose `call` is plain code."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(filters, 3, padding="same", name="conv")
        self.norm = keras.layers.BatchNormalization(name="norm")

    def build(self, shape):
        self.conv.build(shape)
        self.norm.build(self.conv.compute_output_shape(shape))

    def call(self, inputs, training=None):
        return keras.ops.relu(self.norm(self.conv(inputs), training=training)) + keras.ops.mean(inputs)


class Subclassed(keras.Model):
    """A model whose `call` is plain code."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.block = Block(4, name="block")
        self.pool = keras.layers.GlobalAveragePooling2D(name="pool")
        self.head = keras.layers.Dense(3, activation="softmax", name="head")

    def call(self, inputs):
        return self.head(self.pool(self.block(inputs)))
