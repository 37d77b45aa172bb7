"""A data set of random images in memory, read without TensorFlow: for timings, where nothing is learned."""

import numpy as np

from pipelines.arrays.splits import ArraySplits
from pipelines.augmentation import AUGMENTATIONS
from pipelines.examples import DataSpec, Examples

CLASSES = 10


def random_splits(count, batch_size, seed=0, shape=(32, 32, 3)):
    """`ArraySplits` of so many training images, the same for every seed, augmented as CIFAR's are.

    Args:
        count: int, training images.
        batch_size: int.
        seed: of the order and the augmentation.
        shape: `(height, width, channels)`.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count + batch_size, *shape), "uint8")
    labels = rng.integers(0, CLASSES, len(images)).astype("int32")
    spec = DataSpec(
        name="random", image_shape=shape, num_classes=CLASSES, class_names=tuple(map(str, range(CLASSES))),
        mean=(127.5,) * shape[2], std=(64.0,) * shape[2], resize=None,
        num_train=count, num_validation=0, num_test=batch_size,
    )  # fmt: skip
    return ArraySplits(
        spec=spec, batch_size=batch_size, eval_batch_size=batch_size, seed=seed, augmentation=AUGMENTATIONS["cifar"],
        train_examples=Examples.in_memory(images[:count], labels[:count]),
        validation_examples=None,
        test_examples=Examples.in_memory(images[count:], labels[count:]),
    )  # fmt: skip
