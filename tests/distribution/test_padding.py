"""Test batches as equal parts of the devices, in NumPy."""

import keras
import numpy as np

from dirac_keras.distribution.padding import PaddedBatches, padded_batch


class Numbers(keras.utils.PyDataset):
    """Batches `(x, y)` of consecutive numbers from 0."""

    def __init__(self, *sizes):
        super().__init__()
        self.edges = np.cumsum((0, *sizes))

    def __len__(self):
        return len(self.edges) - 1

    def __getitem__(self, index):
        y = np.arange(self.edges[index], self.edges[index + 1])
        return y[:, None].astype("float32"), y


class Iterated:
    """The same, that can only be read from its beginning."""

    def __init__(self, *sizes):
        self.batches = Numbers(*sizes)

    def __iter__(self):
        return (self.batches[index] for index in range(len(self.batches)))


def read(batches):
    return [batches[index] for index in range(batches.num_batches)]


def test_short_batch_is_filled_up_under_a_mask():
    x, y, mask = padded_batch(np.arange(5.0)[:, None], np.arange(5), 4)
    assert x[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 0, 0] and y.tolist() == [0, 1, 2, 3, 4, 0, 0, 0]
    assert mask.tolist() == [1, 1, 1, 1, 1, 0, 0, 0]


def test_parts_of_the_workers_are_each_batch_without_overlap_or_loss():
    parts = [read(PaddedBatches(Numbers(4, 3), 4, worker, 2)) for worker in (0, 1)]
    labels = [[y.tolist() for _, y, _ in part] for part in parts]
    masks = [[mask.tolist() for _, _, mask in part] for part in parts]
    assert labels == [[[0, 1], [4, 5]], [[2, 3], [6, 4]]]
    assert masks == [[[1, 1], [1, 1]], [[1, 1], [1, 0]]]


def test_what_can_only_be_iterated_is_read_again_and_again():
    batches = PaddedBatches(Iterated(2, 1), 2)
    for _ in range(2):
        assert [y.tolist() for _, y, _ in read(batches)] == [[0, 1], [2, 2]]


def test_loading_in_threads_stays_that_of_the_data():
    data = Numbers(2)
    data.workers = 3
    assert PaddedBatches(data, 2).workers == 3
