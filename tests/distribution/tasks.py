"""Data with labels and with values, small, for trainings on one device and on several."""

from dirac_keras.training import TrainConfig, train
from pipelines import from_arrays
from tests.labelled import drawn

FIELDS = {"data": "arrays", "family": "plainnet", "recipe": "plainnet", "depth": 2, "units": 16, "batch_size": 64}
TASKS = ("labels", "values")


def data_of(task, count, seed):
    """Images, and their labels or how bright they are."""
    images, labels = drawn(count, seed)
    return images, labels if task == "labels" else images.mean((1, 2, 3)) / 100


def trained(task, workdir, strategy, precision, epochs=2):
    """`train` of a small network; the 99 test images are no multiple of any number of devices but 1, 3, 9 and 11."""
    splits = from_arrays(data_of(task, 256, 0), data_of(task, 99, 1), batch_size=64, augmentation="none")
    config = TrainConfig(**FIELDS, epochs=epochs, learning_rate=0.02, precision=precision)
    return train(config, splits, workdir, strategy=strategy)
