"""A network as the methods see it: images in, one score for each class out, and the calls between."""

import math

import keras
import numpy as np
from keras import ops

from dirac_keras.errors import RunError, UserError
from dirac_keras.explanation.opened import needed, open_network, run, split_at
from dirac_keras.explanation.scores import find_scores
from dirac_keras.graph.inputs import fixed_batch

# Of the largest output: the same operations on the same numbers, compiled and not.
TOLERANCE = 1e-3


class ScoredNetwork:
    """The scores of a model's classes, from the images or from any tensor on.

    Args:
        model: built `keras.Model` with one input of images.
        images: array `(batch, height, width, channels)`, as the model is fed.
        task, outputs: as in `scores.find_scores`.
        batch_size: int, images in one pass.

    Attributes:
        name: str, of the model.
        graph: `Graph`, everything opened that can be.
        scores: `Scores`.

    Raises: ValueError: if the model or the images do not fit. RunError: if the calls, run one by one, give another
        result than the model.
    """

    def __init__(self, model, images, task=None, outputs=None, batch_size=16):
        self.name = getattr(model, "name", "")
        self.graph, self.model = open_network(model, [(None, *images.shape[1:])])
        if len(self.graph.inputs) > 1 or len(self.graph.outputs) > 1:
            raise UserError(
                f"model '{self.name}' has {len(self.graph.inputs)} inputs and {len(self.graph.outputs)} outputs; one "
                "of each is explained. Take the part that you mean: keras.Model(input, output)."
            )
        shape = self.model.outputs[0].shape
        self.scores = find_scores(self.graph, self.graph.outputs[0], shape, task, outputs)
        self.calls = needed(self.scores.calls, self.scores.tensor)
        self.fixed = fixed_batch(self.model)
        self.batch_size = self.fixed or batch_size
        self._check(images[: self.batch_size])

    @property
    def image(self):
        """Number of the tensor of the images."""
        return self.graph.inputs[0]

    def chunks(self, arrays):
        """Arrays with a sample axis in parts of `batch_size`: `(list of parts, how many samples of them count)`.

        The last part is filled up with its last sample where there are several parts or the model fixes its batch.
        """
        total = len(arrays[0])
        size = self.fixed or min(self.batch_size, total)
        for start in range(0, total, size):
            parts = [np.asarray(array[start : start + size]) for array in arrays]
            count = len(parts[0])
            if count < size:
                parts = [np.concatenate([part, np.repeat(part[-1:], size - count, axis=0)]) for part in parts]
            yield parts, count

    def measure(self, images):
        """Scores `(images, units)`, float32, of images as the model is fed."""
        found = []
        for (part,), count in self.chunks([images]):
            values = run(self.calls, {self.image: self.feed(part)}, [self.scores.tensor])
            found.append(ops.convert_to_numpy(self.scores.read(values))[:count])
        return np.concatenate(found)

    def score_of(self, value, targets):
        """Tensor `(batch,)` of the score of each image's class, of images as a tensor of floats."""
        values = run(self.calls, {self.image: value}, [self.scores.tensor])
        return self.scores.of_targets(self.scores.read(values), targets)

    def feed(self, images):
        """Images as a tensor of the model's input type."""
        return ops.convert_to_tensor(images, dtype=self.model.inputs[0].dtype)

    def behind(self, images, tensor):
        """What a tensor holds for some images, and the score of a class as a function of that tensor.

        Args:
            images: array, one part of `chunks`.
            tensor: number.

        Returns: `(value, function)`; the function takes a value and an array of classes, and gives `(batch,)`.
        """
        before, behind = split_at(self.calls, tensor)
        kept = [tensor, *(number for call in behind for number in call.inputs), self.scores.tensor]
        values = run(before, {self.image: self.feed(images)}, kept)

        def score(value, targets):
            after = run(behind, {**values, tensor: value}, [self.scores.tensor])
            return self.scores.of_targets(self.scores.read(after), targets)

        return values[tensor], score

    def _check(self, images):
        """Compare the calls, run one by one, with the model itself, which opening has taken apart."""
        (part,), _ = next(self.chunks([images]))
        values = run(self.graph.calls, {self.image: self.feed(part)}, self.graph.outputs)
        ours = ops.convert_to_numpy(ops.cast(values[self.graph.outputs[0]], "float32"))
        (theirs,) = keras.tree.flatten(self.model(self.feed(part), training=False))
        theirs = ops.convert_to_numpy(ops.cast(theirs, "float32"))
        if not np.isfinite(theirs).all():
            raise UserError(
                f"images: model '{self.name}' gives NaN or infinity for some: its weights, or what it is fed with, are "
                "wrong."
            )
        difference = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else math.inf
        if difference > TOLERANCE * max(1.0, float(np.abs(theirs).max())):
            raise RunError(
                f"model '{self.name}' does something that its layers do not show: run layer by layer, its outputs "
                f"differ by {difference:.2g}. Build it with keras.Model(inputs, outputs)."
            )
