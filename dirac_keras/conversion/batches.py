"""Batches that are gone through again and again, and the accuracy of a model on them."""

import keras
import numpy as np

from dirac_keras.deployment.heads import find_head
from dirac_keras.errors import UserError


class Batches:
    """Pairs `(inputs, labels)` in batches, each time from the first.

    Args:
        data: a list, a `tf.data.Dataset`, a `keras.utils.PyDataset` or another object that can be iterated anew.
        name: str, the argument that it came by, for messages.

    Raises: UserError: if it can be iterated once alone, or holds no batch.
    """

    def __init__(self, data, name):
        self.data = data
        self._is_indexed = isinstance(data, keras.utils.PyDataset)  # which need not end when it is iterated
        if not self._is_indexed and iter(data) is data:
            raise UserError(
                f"{name} is gone through several times. Received {name} as a {type(data).__name__}, which ends after "
                "the first: give a list, or a data set."
            )
        self.steps = self._count()
        if not self.steps:
            raise UserError(f"{name} must hold batches. Received {name} without any.")

    def _count(self):
        if self._is_indexed:
            return self.data.num_batches
        try:
            return len(self.data)
        except TypeError:
            return sum(1 for _ in self.data)

    def __len__(self):
        return self.steps

    def __iter__(self):
        return map(self.data.__getitem__, range(self.steps)) if self._is_indexed else iter(self.data)

    def forever(self):
        """Generator over all batches, from the first again behind the last."""
        while True:
            yield from self


def class_numbers(outputs):
    """Which class each position of a model's outputs names, `(positions,)`."""
    return keras.ops.convert_to_numpy(outputs).argmax(axis=-1).reshape(-1)


def accuracy_of(model, batches):
    """Share of samples that a classifier names rightly, and how many samples there are.

    Args:
        model: `keras.Model` that gives a number for each class.
        batches: `Batches`.

    Raises: UserError: if the batches hold no samples, or what one unit for two classes gives is not known.
    """
    of_two = find_head(model) if model.output_shape[-1] == 1 else None
    right = count = 0
    for inputs, labels in batches:
        labels = np.asarray(labels).reshape(-1)
        count += len(labels)
        outputs = model.predict_on_batch(inputs)
        outputs = outputs if of_two is None else of_two.probabilities(keras.ops.convert_to_numpy(outputs))
        right += int(np.sum(class_numbers(outputs) == labels))
    if not count:
        raise UserError("data must hold samples. Received data without any.")
    return right / count, count
