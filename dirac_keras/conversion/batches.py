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
        self.data, self.name = data, name
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
        batches = map(self.data.__getitem__, range(self.steps)) if self._is_indexed else iter(self.data)
        return map(self._checked, batches)

    def _checked(self, batch):
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            kind = type(batch).__name__
            what = f"a {kind} of {len(batch)}" if isinstance(batch, (tuple, list)) else f"one of type {kind}"
            raise UserError(f"{self.name} must hold a pair (inputs, labels) for each batch. Received {what}.")
        return batch

    def class_labels(self, labels, shape, classes):
        """The labels of a batch as class numbers, one after the other.

        Args:
            shape: tuple, of what has a label: `(samples,)`, with further axes where places have one.
            classes: int.

        Raises: UserError: if they are something else, or there are no such classes.
        """
        labels = keras.ops.convert_to_numpy(labels)
        if labels.dtype.kind not in "iuf" or labels.shape not in (shape, (*shape, 1)):
            one_hot = labels.shape == (*shape, classes)
            raise UserError(
                f"{self.name} must have class numbers as labels, of shape {shape} for these inputs. Received labels of "
                f"shape {labels.shape}, {labels.dtype}.{' Give their argmax(axis=-1).' if one_hot else ''}"
            )
        labels = labels.reshape(-1)
        wrong = labels[~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))]
        if len(wrong):
            raise UserError(
                f"{self.name} must have class numbers from 0 to {classes - 1} as labels, one for each of the model's "
                f"outputs. Received the label {wrong[0]}."
            )
        return labels

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

    Raises: UserError: if the batches hold no samples, labels that are no class numbers, or what one unit for two
        classes gives is not known.
    """
    if len(model.outputs) != 1:
        raise UserError(
            f"{batches.name} has an effect only for a model with one output, whose accuracy it measures. Received "
            f"model '{model.name}' with {len(model.outputs)}."
        )
    units = model.outputs[0].shape[-1]
    of_two = find_head(model) if units == 1 else None
    right = count = 0
    for inputs, labels in batches:
        outputs = keras.ops.convert_to_numpy(model.predict_on_batch(inputs))
        labels = batches.class_labels(labels, outputs.shape[:-1], max(units, 2))
        count += len(labels)
        outputs = outputs if of_two is None else of_two.probabilities(outputs)
        right += int(np.sum(class_numbers(outputs) == labels))
    if not count:
        raise UserError("data must hold samples. Received data without any.")
    return right / count, count
