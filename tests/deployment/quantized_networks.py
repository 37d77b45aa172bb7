"""Small folded networks with random weights, to be quantized."""

import keras
import numpy as np

CHANNELS, SIDE = 8, 6


def images(count=64, channels=CHANNELS, seed=0):
    return np.random.default_rng(seed).normal(size=(count, SIDE, SIDE, channels)).astype("float32")


def random_weights(model, seed=0, identity=0.0):
    """`model` with random weights and biases; `identity` is added to the centre taps of square convolutions."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            random_weights(layer, seed + 1, identity)
            continue
        values = []
        for weight in layer.get_weights():
            fan_in = max(1, np.prod(weight.shape[:-1])) if weight.ndim > 1 else 100
            values.append(random.normal(size=weight.shape) / np.sqrt(fan_in))
        if identity and values and values[0].ndim == 4 and values[0].shape[2] == values[0].shape[3]:
            values[0] *= 0.3
            values[0][1, 1] += identity * np.eye(values[0].shape[-1])
        layer.set_weights(values)
    return model


def chain(depth=3, activation="relu", identity=1.0):
    """As folding leaves a Dirac network: in each filter an identity tap beside learned ones that are far smaller."""
    x = inputs = keras.Input((SIDE, SIDE, CHANNELS))
    for block in range(depth):
        x = keras.layers.Conv2D(CHANNELS, 3, padding="same", activation=activation, name=f"conv{block}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return random_weights(keras.Model(inputs, keras.layers.Dense(4, name="head")(x), name="chain"), 0, identity)


def branched():
    """A block as in MobileNetV2, with a layer that is called twice, a nested model and a softmax at the end."""
    inner = keras.Sequential([keras.Input((SIDE, SIDE, CHANNELS)), keras.layers.Conv2D(CHANNELS, 1, name="inside")])
    inner.name = "nested"
    x = inputs = keras.Input((SIDE, SIDE, CHANNELS))
    twice = keras.layers.Conv2D(CHANNELS, 3, padding="same", name="twice")
    y = keras.layers.ReLU(6.0, name="relu6")(twice(x))
    y = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(y)
    y = twice(y)
    x = keras.layers.Add(name="sum")([x, inner(y)])
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = keras.layers.Dense(4, activation="softmax", name="head")(x)
    return random_weights(keras.Model(inputs, outputs, name="branched"))
