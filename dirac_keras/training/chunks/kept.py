"""What an epoch is validated on, kept on the device from the first time on (JAX)."""

import keras
import numpy as np


class KeptBatches(keras.utils.PyDataset):
    """The batches of another `PyDataset`, which the host prepares once.

    Args:
        batches: `keras.utils.PyDataset` with an end.
    """

    def __init__(self, batches):
        super().__init__()
        self._batches = batches
        self._kept = {}

    @property
    def num_batches(self):
        return self._batches.num_batches

    def __getitem__(self, index):
        import jax

        if index not in self._kept:
            self._kept[index] = jax.device_put(tuple(map(np.asarray, self._batches[index])))
        return self._kept[index]


def bytes_of_batches(splits, part):
    """Bytes that the float32 images of a part take; None if they are not stored in memory."""
    stored = splits.stored(part)
    return None if stored is None else 4 * len(stored.labels) * int(np.prod(splits.spec.image_shape))
