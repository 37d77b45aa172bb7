"""What an installation without TensorFlow does: layers, fit, fold, and a run that is resumed. No part of pytest."""

import importlib.metadata
import importlib.util
import logging
import math
import sys

import keras
import numpy as np

import dirac_keras
from dirac_keras.training import train

assert importlib.util.find_spec("tensorflow") is None and "tensorflow" not in sys.modules
assert keras.backend.backend() == "jax"
logging.basicConfig(level=logging.INFO, format="%(message)s")
BATCH = 32


class Spec:
    """What a model and a run are told of the data."""

    name, image_shape, num_classes, class_names = "stripes", (8, 8, 1), 2, ("across", "along")

    def to_dict(self):
        return {"name": self.name, "image_shape": list(self.image_shape), "class_names": list(self.class_names)}


class InOrder(keras.utils.PyDataset):
    """Batches that can be read again, as every validation does."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels

    def __len__(self):
        return math.ceil(len(self.labels) / BATCH)

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return self.images[rows], self.labels[rows]


class Stripes:
    """Splits of NumPy batches: noise with stripes across or along the image, in an order of their own each epoch."""

    spec, steps_per_epoch = Spec(), 8

    def __init__(self):
        noise = np.random.default_rng(0)
        self.labels = noise.integers(0, 2, BATCH * self.steps_per_epoch).astype("int32")
        stripes = np.tile([1.0, -1.0], 4)[:, None] * np.ones((8, 8))
        images = np.where(self.labels[:, None, None], stripes.T, stripes) + noise.normal(size=(len(self.labels), 8, 8))
        self.images = images[..., None].astype("float32")

    def train(self, start_step=0):
        step = start_step
        while True:
            epoch, batch = divmod(step, self.steps_per_epoch)
            rows = np.random.default_rng(epoch).permutation(len(self.labels))[batch * BATCH : (batch + 1) * BATCH]
            yield self.images[rows], self.labels[rows]
            step += 1

    def validation(self):
        return None

    def test(self):
        return InOrder(self.images, self.labels)


class PowerCut(keras.callbacks.Callback):
    """Ends the training behind a step of the second epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == Stripes.steps_per_epoch + 3:
            raise RuntimeError("the power went")


def main():
    splits = Stripes()
    fold_own_model(splits)
    resume(splits)
    print(f"dirac_keras {importlib.metadata.version('dirac_keras')} on JAX without TensorFlow: fit, fold, resume: ok")


def fold_own_model(splits):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            dirac_keras.layers.DiracConv2D(8, 3, padding="same", use_bias=False),
            dirac_keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(splits.images, splits.labels, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0], history
    folded, _ = dirac_keras.fold(model)
    assert not any("Batch" in type(layer).__name__ for layer in folded.layers)
    np.testing.assert_allclose(folded.predict(splits.images, verbose=0), model.predict(splits.images, verbose=0),
                               atol=1e-4)  # fmt: skip


def resume(splits):
    fields = {"family": "diracnet", "depth": 10, "width": 0.25, "epochs": 2, "batch_size": BATCH, "checkpoint_steps": 2}
    fields["precision"] = "float32"
    config = dirac_keras.TrainConfig(**fields)
    whole = train(config, splits, "whole", profile="2")
    try:
        train(config, splits, "cut", callbacks=[PowerCut()])
    except RuntimeError as error:
        print(error)
    else:
        raise AssertionError("the training was not interrupted")
    resumed = train(config, splits, "cut")
    for mine, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    small = {"family": "plainnet", "depth": 2, "units": 8, "scenario": "bn", "epochs": 1, "batch_size": BATCH}
    averaged = dirac_keras.TrainConfig(**small, ema_momentum=0.9)
    assert math.isfinite(train(averaged, splits, "averaged").summary["test_loss"])
    dirac_keras.assert_plain(dirac_keras.fold(resumed.model)[0])


main()
