"""A small classifier for tests of formats, with weights that matter, and what its file would say of it."""

import keras
import numpy as np
from keras import layers

SHAPE = (8, 8, 3)
LABELS = ["cat", "dog", "één  hond"]
DATA = {
    "name": "made_up",
    "image_shape": list(SHAPE),
    "num_classes": 3,
    "class_names": LABELS,
    "mean": [120.0, 110.0, 100.0],
    "std": [60.0, 50.0, 40.0],
    "resize": 12,
}
METADATA = {"data": DATA}


def randomize(model):
    """Kernels of the scale that keeps activations alike, biases off 0."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        fan = max(1, int(np.prod(weight.shape[:-1])))
        weight.assign(random.standard_normal(weight.shape) * np.sqrt(2 / fan))
    return model


def classifier(*extra, units=3, batch=None, end=None):
    """Two convolutions and a head; `extra` are layers between."""
    x = inputs = keras.Input(batch_shape=(batch, *SHAPE), name="picture")
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="first")(x)
    for step in extra:
        x = step(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="second")(x)
    x = layers.Dense(units, name="logits", activation=end)(layers.GlobalAveragePooling2D()(x))
    return randomize(keras.Model(inputs, x, name="small"))


def several():
    """Two inputs, one of integers, and two outputs by name."""
    numbers, ids = keras.Input((4,), name="numbers"), keras.Input((2,), dtype="int32", name="ids")
    x = layers.Concatenate()([numbers, layers.Flatten()(layers.Embedding(2, 3)(ids))])
    return randomize(keras.Model([numbers, ids], {"sum": layers.Dense(2)(x), "raw": layers.Dense(3)(x)}))


def pixels(count=5):
    return np.random.default_rng(2).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def fed(images):
    return ((images - np.array(DATA["mean"])) / np.array(DATA["std"])).astype("float32")
