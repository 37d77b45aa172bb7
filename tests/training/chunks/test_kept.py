import keras
import numpy as np
import pytest

from dirac_keras.training.chunks.kept import KeptBatches, bytes_of_batches
from pipelines import load_splits

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="kept on JAX's device")


def test_batches_are_prepared_once_and_evaluated_as_they_were():
    splits = load_splits("digits", max_test=130, eval_batch_size=50)
    batches, prepared = splits.test(), []

    class Counted(keras.utils.PyDataset):
        num_batches = batches.num_batches

        def __getitem__(self, index):
            prepared.append(index)
            return batches[index]

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    kept = KeptBatches(Counted())
    found = [model.evaluate(data, verbose=0) for data in (kept, kept, splits.test())]
    assert found[0] == found[1] == found[2]
    assert sorted(prepared) == [0, 1, 2]


def test_bytes_are_those_of_float32():
    splits = load_splits("digits", max_test=130, eval_batch_size=50)
    assert bytes_of_batches(splits, "test") == sum(np.asarray(images).nbytes for images, _ in splits.test())
