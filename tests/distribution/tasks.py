"""Data with labels and with values, small, for trainings on one device and on several."""

import numpy as np

from dirac_keras.training import TrainConfig, train
from pipelines import from_arrays

FIELDS = {"data": "arrays", "family": "plainnet", "recipe": "plainnet", "depth": 2, "units": 16, "batch_size": 64}
TASKS = ("labels", "values")


def drawn(task, count, seed):
    """Grey 8x8 images, and for each whether its left and its right are bright, or how bright it is."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, (count, 2))
    images = generator.integers(0, 60, (count, 8, 8, 1))
    images[:, :, :3] += 150 * labels[:, 0, None, None, None]
    images[:, :, 5:] += 150 * labels[:, 1, None, None, None]
    return images.astype(np.uint8), labels if task == "labels" else images.mean((1, 2, 3)) / 100


def trained(task, workdir, strategy, precision, epochs=2):
    """`train` of a small network; the 99 test images are no multiple of any number of devices but 1, 3, 9 and 11."""
    splits = from_arrays(drawn(task, 256, 0), drawn(task, 99, 1), batch_size=64, augmentation="none")
    config = TrainConfig(**FIELDS, epochs=epochs, learning_rate=0.02, precision=precision)
    return train(config, splits, workdir, strategy=strategy)
