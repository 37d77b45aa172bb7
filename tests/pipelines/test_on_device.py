"""Batches that a training step cuts on the device, against the stream of tf.data."""

import dataclasses
import itertools

import numpy as np
import pytest

from pipelines import load_splits
from pipelines.augmentation import AUGMENTATIONS

tf = pytest.importorskip("tensorflow")


@pytest.mark.parametrize("augmentation", ["none", "cifar", "alternating"])
def test_batches_are_those_of_the_stream(augmentation):
    splits = load_splits("digits", batch_size=600, max_train=1300, reader="tensorflow", seed=5)
    chosen = AUGMENTATIONS["cifar" if augmentation == "alternating" else augmentation]
    chosen = dataclasses.replace(chosen, padding=min(chosen.padding, 2), alternating=augmentation == "alternating")
    splits = dataclasses.replace(splits, augmentation=chosen)
    orders, make = splits.on_device()
    in_step = tf.function(make)
    pairs = zip(splits.train(1), orders(1), strict=False)
    for (images, labels), order in itertools.islice(pairs, 3):  # over the end of an epoch
        made, targets = in_step(*order)
        np.testing.assert_array_equal(made, images)
        np.testing.assert_array_equal(targets, labels)
