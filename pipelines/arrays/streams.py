"""Streams of batches as NumPy arrays, for `fit` and `evaluate`, and to be iterated."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

import keras
import numpy as np

from pipelines.additions.stage import Stage
from pipelines.arrays import loading
from pipelines.arrays.crops import scaled_part
from pipelines.arrays.pixels import crop_window, normalize, shift_and_flip, to_uint8
from pipelines.arrays.resizing import resize
from pipelines.arrays.threads import ImageByImage, Whole, Window
from pipelines.augmentation import Augmentation
from pipelines.draws import BatchDraws, Draws
from pipelines.examples import Examples, View
from pipelines.splits_base import shard_bounds


class Batches(keras.utils.PyDataset):
    """Batches `(images, labels)`, each a function of its number: float32 `(batch, h, w, c)` and int32 `(batch,)`.

    Keras takes it in `fit` (with `shuffle=False`, else it warns), `evaluate` and `predict`. It can be iterated as often
    as one likes, from the start, and indexed: `batches[k]`. The batches that follow are prepared by threads meanwhile.

    Args:
        start: number -> a batch in preparation, see `pipelines.arrays.threads`.
        count: of batches; None for no end.
    """

    def __init__(self, start: Callable, count: int | None = None):
        super().__init__()  # one worker: the threads are ours, which keep the order and prepare image by image
        self._start, self._count = start, count
        self._window = Window(start, count)

    @property
    def num_batches(self) -> int | None:
        return self._count

    def __len__(self) -> int:
        if self._count is None:
            raise TypeError("this stream of training batches has no end, so no length")
        return self._count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        index = operator.index(index)
        if index < 0 or (self._count is not None and index >= self._count):
            raise IndexError(f"there is no batch {index}")
        return self._window.get(index)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        window, number = Window(self._start, self._count), 0
        try:
            while self._count is None or number < self._count:
                yield window.get(number)
                number += 1
        finally:
            window.close()


def train_stream(
    examples: Examples,
    view: View,
    augmentation: Augmentation,
    draws: BatchDraws,
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    stage: Stage | None = None,
) -> Batches:
    """The endless training stream, see `ArraySplits.train`: its batch `k` is that of step `start_step + k`.

    Args:
        examples, view, augmentation, draws, start_step, shard: as for `ArraySplits.train`.
        stage: what is added to its batches.
    """
    part = shard_bounds(draws.batch_size, shard)
    numbers = np.arange(*part) if stage is None else stage.needed(part)

    def drawn(number):
        # The draws are the whole batch's, so that a part looks as it does in one piece.
        return Draws(*(None if values is None else values[numbers] for values in draws(start_step + number)))

    if examples.images is not None:

        def make_whole(number):
            images, labels = _batch_in_memory(examples, view, augmentation, drawn(number))
            if stage is not None:
                images, labels = stage.whole(images, labels, start_step + number, part)
            return normalize(images, view.mean, view.std), labels

        return Batches(lambda number: Whole(lambda: make_whole(number)))

    def start(number):
        chosen, step = drawn(number), start_step + number

        def pixels(data, k):
            image = loading.augmented(data, view, view.rule, augmentation, chosen, k)
            if augmentation.changes_pixels:
                image = stage.change_pixels(image.astype(np.uint8), step, numbers[k])
            return image if augmentation.mixes else normalize(image, view.mean, view.std)

        def mix(images, labels):
            images, labels = stage.mix(images, labels, step, part)
            return normalize(images, view.mean, view.std), labels

        return ImageByImage(
            (len(numbers), *view.image_shape),
            lambda k: loading.load(examples, chosen.positions[k], lambda data: pixels(data, k)),
            examples.labels[chosen.positions],
            mix if augmentation.mixes else None,
        )

    return Batches(start)


def _batch_in_memory(examples, view, augmentation, draws):
    """Shifted, mirrored or cut images of a batch, uint8, and their labels."""
    images = examples.images[examples.rows[draws.positions]]  # (batch, h, w, c) uint8
    if augmentation.resized_crop:
        images = np.stack([_crop(image, draws, k, view.image_shape) for k, image in enumerate(images)])
    images = _fit(images, view.image_shape)
    if augmentation.padding or augmentation.flip:
        images = shift_and_flip(images, draws.rows, draws.columns, draws.flips, augmentation.padding, augmentation.mode)
    return images, examples.labels[draws.positions]


def _crop(image, draws, k, image_shape):
    window = crop_window(image.shape[:2], draws.heights[k], draws.widths[k], draws.place[k])
    return scaled_part(image, window, image_shape[:2])


def _fit(images, image_shape):
    """Scale a stored batch that was too large to be kept at `image_shape`."""
    if images.shape[1:3] == tuple(image_shape[:2]):
        return images
    return to_uint8(resize(images, *image_shape[:2]))


def evaluation_stream(examples: Examples, view: View, batch_size: int) -> Batches:
    """The examples in order, once, see `ArraySplits.test`."""
    count = -(-len(examples) // batch_size)

    def positions(number):
        return np.arange(number * batch_size, min((number + 1) * batch_size, len(examples)))

    def in_memory(number):
        images = _fit(examples.images[examples.rows[positions(number)]], view.image_shape)
        return normalize(images, view.mean, view.std), examples.labels[positions(number)]

    def start(number):
        if examples.images is not None:
            return Whole(lambda: in_memory(number))
        chosen = positions(number)

        def pixels(data):
            return normalize(loading.evaluated(data, view, view.rule), view.mean, view.std)

        return ImageByImage(
            (len(chosen), *view.image_shape),
            lambda k: loading.load(examples, chosen[k], pixels),
            examples.labels[chosen],
        )

    return Batches(start, count)
