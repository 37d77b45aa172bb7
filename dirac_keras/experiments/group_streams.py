"""The batches of networks side by side: `(batch, networks, ...)`."""

import keras
import numpy as np


def train_stream(splits, start_step=0):
    """Batches `(images, labels)` of all networks from a step on, endless.

    Args:
        splits: `pipelines.Splits` of each network.
        start_step: int.
    """
    streams = [one.train(start_step) for one in splits]
    if keras.backend.backend() != "tensorflow":
        return _stacked(streams)
    import tensorflow as tf

    return tf.data.Dataset.zip(tuple(streams)).map(
        lambda *batches: (tf.stack([x for x, _ in batches], axis=1), tf.stack([y for _, y in batches], axis=1))
    )


def _stacked(streams):
    for batches in zip(*streams, strict=True):
        images, labels = zip(*batches, strict=True)
        yield np.stack(images, axis=1), np.stack(labels, axis=1)


def test_stream(splits):
    """The test batches of all networks; can be read again."""
    parts = [one.test() if (held := one.validation()) is None else held for one in splits]
    if keras.backend.backend() != "tensorflow":
        return _Together(parts)
    import tensorflow as tf

    return tf.data.Dataset.zip(tuple(parts)).map(
        lambda *batches: (tf.stack([x for x, _ in batches], axis=1), tf.stack([y for _, y in batches], axis=1))
    )


class _Together(keras.utils.PyDataset):
    """The batches of several `PyDataset`s of as many batches."""

    def __init__(self, parts):
        super().__init__()
        self._parts = parts

    @property
    def num_batches(self):
        return self._parts[0].num_batches

    def __getitem__(self, index):
        images, labels = zip(*(part[index] for part in self._parts), strict=True)
        return np.stack(images, axis=1), np.stack(labels, axis=1)
