"""The handwritten digits that scikit-learn ships."""

from __future__ import annotations

import numpy as np

from pipelines.examples import DataError, Examples
from pipelines.readers.drawn import stratified_test
from pipelines.readers.raw import Raw, check_labels

DIGITS_STATISTICS = ((77.82,), (95.79,))  # mean and deviation of all pixels of the training part


def read_digits() -> Raw:
    """The 1,797 digits that scikit-learn ships, 8x8 with values 0..16, scaled to round(value * 255 / 16).

    A fixed fifth of every class is the test part.
    Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI repository.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("digits is part of scikit-learn, which is missing: pip install scikit-learn") from error
    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
    check_labels(data.target, 10, "digits")
    examples = Examples.in_memory(images, data.target)
    train, test = stratified_test(data.target)
    mean, std = DIGITS_STATISTICS
    names = tuple(str(digit) for digit in range(10))
    return Raw(examples.take(train), examples.take(test), names, (8, 8, 1), mean, std, "digits")
