"""Test batches of any size as equal parts of the devices, in NumPy: nothing twice, nothing lost."""

import keras
import numpy as np

_LOADING = ("workers", "use_multiprocessing", "max_queue_size")  # of a PyDataset, which are this one's too


class PaddedBatches(keras.utils.PyDataset):
    """Batches `(x, y, mask)` whose sizes are multiples of a number, from batches `(x, y)` of any size.

    A batch that is short is filled up with its own first example, which is masked: mask is 1 for examples, 0 for
    what fills.

    Args:
        batches: `keras.utils.PyDataset`, or what can be iterated again and again, such as a `tf.data.Dataset`.
        multiple: int, devices of all workers.
        worker: int, which of equal parts of each batch to give, in order.
        num_workers: int, how many parts there are.
    """

    def __init__(self, batches, multiple, worker=0, num_workers=1):
        own = {name: getattr(batches, name) for name in _LOADING if hasattr(batches, name)}
        super().__init__(**(own if isinstance(batches, keras.utils.PyDataset) else {}))
        self.batches = batches
        self.multiple = multiple
        self.worker = worker
        self.num_workers = num_workers
        self._iterator = None
        self._length = None

    @property
    def num_batches(self):
        if self._length is None:
            self._length = _count(self.batches)
        return self._length

    def __getitem__(self, index):
        x, y, mask = padded_batch(*self._batch(index), self.multiple)
        rows = len(y) // self.num_workers
        part = slice(self.worker * rows, (self.worker + 1) * rows)
        return x[part], y[part], mask[part]

    def _batch(self, index):
        if isinstance(self.batches, keras.utils.PyDataset):
            return self.batches[index]
        if index == 0 or self._iterator is None:
            self._iterator = iter(self.batches)  # Keras asks for them in order
        return next(self._iterator)

    def on_epoch_begin(self):
        if hasattr(self.batches, "on_epoch_begin"):
            self.batches.on_epoch_begin()

    def on_epoch_end(self):
        if hasattr(self.batches, "on_epoch_end"):
            self.batches.on_epoch_end()


def _count(batches):
    if isinstance(batches, keras.utils.PyDataset):
        return batches.num_batches
    try:
        return len(batches)
    except TypeError:  # nobody knows before they are read
        return sum(1 for _ in batches)


def padded_batch(x, y, multiple):
    """`(x, y, mask)` of NumPy arrays, filled up with the first example to a multiple of a number of rows.

    Args:
        x: `(n, ...)`; y: `(n, ...)`.
        multiple: int.

    Returns: arrays of `m >= n` rows; mask `(m,)`, 1 in the first n rows and 0 behind them.
    """
    x, y = np.asarray(x), np.asarray(y)
    size = len(y)
    positions = np.arange(-(-size // multiple) * multiple)
    mask = (positions < size).astype(keras.config.floatx())
    if len(positions) == size:
        return x, y, mask
    positions = np.where(positions < size, positions, 0)
    return x[positions], y[positions], mask
