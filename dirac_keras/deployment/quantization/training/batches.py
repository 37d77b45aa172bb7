"""The images that a network is fine-tuned on, from arrays or from whatever gives batches again and again."""

import numpy as np

from dirac_keras.errors import UserError


class Batches:
    """Batches of images, with labels where asked, in each epoch.

    Args:
        dataset: array, pair of arrays `(images, labels)`, or an iterable of batches, of images or pairs.
        batch_size: int, for arrays.
        seed: int, of the order of the images of arrays.
        with_labels: bool, whether labels are needed.
        prepare: function of some images to what the model is fed with; None: they are that.

    Attributes:
        length: int, steps of an epoch.
    """

    def __init__(self, dataset, batch_size, seed, with_labels, prepare=None):
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(f"batch_size must be a whole number above 0. Received batch_size={batch_size!r}.")
        self._with_labels = with_labels
        self._prepare = prepare or (lambda images: images)
        self._batch_size, self._seed = batch_size, seed
        self._images, self._labels, self._batches = None, None, None
        if _is_array(dataset):
            self._images = np.asarray(dataset)
        elif isinstance(dataset, (tuple, list)) and len(dataset) == 2 and all(map(_is_array, dataset)):
            self._images, self._labels = map(np.asarray, dataset)
            if len(self._images) != len(self._labels):
                raise UserError(
                    "dataset must have a label for each image. "
                    f"Received {len(self._images)} images and {len(self._labels)} labels."
                )
        else:
            self._batches = dataset
        self.length = self._count()
        if with_labels and self._labels is None and self._batches is None:
            raise UserError(
                'targets="labels" needs labels: dataset must be a pair (images, labels) or batches of pairs. '
                "Received an array of images."
            )

    def first(self, count):
        """The first `count` images, fewer if there are fewer: array float32."""
        if self._images is not None:
            return self._fed(self._images[:count])
        found = []
        for images, _ in self._read():
            found.append(images)
            if sum(map(len, found)) >= count:
                break
        return np.concatenate(found)[:count]

    def epoch(self, number):
        """Pairs `(images, labels or None)` of an epoch; arrays in an order of its own."""
        if self._images is None:
            yield from self._read()
            return
        order = np.random.default_rng((self._seed, number)).permutation(len(self._images))
        for start in range(0, len(order), self._batch_size):
            chosen = order[start : start + self._batch_size]
            yield self._fed(self._images[chosen]), None if self._labels is None else self._labels[chosen]

    def _count(self):
        if self._images is not None:
            count = -(-len(self._images) // self._batch_size)
        elif not hasattr(self._batches, "__iter__"):
            raise UserError(
                "dataset must be an array of images, a pair (images, labels), or an iterable of batches. "
                f"Received {type(self._batches).__name__}."
            )
        elif iter(self._batches) is self._batches:
            raise UserError(
                "dataset must give its batches again in each epoch. "
                f"Received a {type(self._batches).__name__}, which gives them once."
            )
        else:
            count = sum(1 for _ in self._read())
        if not count:
            raise UserError("dataset must have images. Received none.")
        return count

    def _read(self):
        for batch in self._batches:
            has_labels = isinstance(batch, (tuple, list))
            images, labels = (batch[0], batch[1]) if has_labels and len(batch) > 1 else (batch, None)
            if self._with_labels and labels is None:
                raise UserError('targets="labels" needs batches of pairs (images, labels). Received images alone.')
            yield self._fed(images), None if labels is None else np.asarray(labels)

    def _fed(self, images):
        images = np.asarray(self._prepare(np.asarray(images)), "float32")
        if not np.isfinite(images).all():
            raise UserError("dataset must have images of finite numbers. Received NaN or infinity.")
        return images


def _is_array(value):
    return (hasattr(value, "shape") and hasattr(value, "dtype") and len(value.shape) > 1) or _is_vector(value)


def _is_vector(value):
    return isinstance(value, np.ndarray) and value.ndim == 1
