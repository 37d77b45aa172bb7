"""What is added to the batches of a training: each image's pixels first, then mixtures. The same in both readers."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from pipelines.additions import mixing, operations, policies
from pipelines.additions.boxes import ERASE_CHANCES, erased_boxes
from pipelines.augmentation import Augmentation
from pipelines.draws import ERASE, MIX, OPERATIONS, uniform
from pipelines.examples import DataSpec


@dataclasses.dataclass(frozen=True)
class Stage:
    """The additions of an augmentation, as functions of the step and an image's number in the whole batch.

    Args:
        augmentation: what is added.
        batch_size: images of a whole batch.
        seed: of all draws.
        image_shape: (height, width, channels).
        num_classes: of the labels.
        fill: a level for each channel: the mean colour, where an image has no pixels.
    """

    augmentation: Augmentation
    batch_size: int
    seed: int
    image_shape: tuple[int, int, int]
    num_classes: int
    fill: tuple[int, ...]

    @classmethod
    def of(cls, augmentation: Augmentation, batch_size: int, seed: int, spec: DataSpec) -> Stage | None:
        """The stage of a training; None if nothing is added."""
        if not augmentation.has_additions:
            return None
        fill = tuple(round(level) for level in spec.mean)
        return cls(augmentation, batch_size, seed, tuple(spec.image_shape), spec.num_classes, fill)

    def needed(self, part: tuple[int, int]) -> np.ndarray:
        """The images of a batch that its `part`, from its first to before its last, is made of, as their numbers."""
        start, stop = part
        numbers = np.arange(start, stop)
        return np.append(numbers, stop % self.batch_size) if self.augmentation.mixes else numbers

    def change_pixels(self, image: np.ndarray, step: int, number: int) -> np.ndarray:
        """The image of that number in the batch of a step, changed on its own; `(h, w, c)` uint8."""
        augmentation, step = self.augmentation, int(step)
        if augmentation.has_operations:
            chances = _chances(self.seed, OPERATIONS, step, self.batch_size, policies.chances_of(augmentation))
            steps = policies.steps_of(augmentation, chances[number], self.image_shape)
            image = operations.apply(image, steps, self.fill)
        if augmentation.erasing:
            top, left, height, width = map(int, self.erased(step)[number])
            if height:
                image = image.copy()
                image[top : top + height, left : left + width] = self.fill
        return image

    def change_all(self, images: np.ndarray, step: int, numbers: np.ndarray) -> np.ndarray:
        """`change_pixels` of the images of those numbers."""
        return np.stack([self.change_pixels(image, step, k) for image, k in zip(images, numbers, strict=True)])

    def erased(self, step: int) -> np.ndarray:
        """`(batch, 4)`, the box that each image of a step loses, see `boxes`."""
        return _erased(self.seed, step, self.batch_size, self.augmentation.erasing, self.image_shape[:2])

    def mixture(self, step: int) -> mixing.Mixture:
        """How the images of a whole batch are mixed."""
        augmentation = self.augmentation
        chances = _chances(self.seed, MIX, step, self.batch_size, mixing.MIX_CHANCES)
        return mixing.draw_mixture(augmentation.mixup, augmentation.cutmix, chances, self.image_shape[:2])

    def mix(self, images: np.ndarray, labels: np.ndarray, step: int, part: tuple[int, int]):
        """Mixtures of the images of a part, which come with the one behind them, see `needed`.

        Args:
            images: `(n + 1, h, w, c)`, whole numbers, uint8 or float32.
            labels: `(n + 1,)` classes, or `(n + 1, k)`.
            step: of the batch.
            part: where in the batch the images are.
        Returns: `(images, labels)`: `(n, h, w, c)` float32 in 0..255 and `(n, classes)` float32.
        """
        mixture = mixing.Mixture(*(values[slice(*part)] for values in self.mixture(step)))
        labels = mixing.one_hot(labels, self.num_classes)
        return (
            mixing.mix_images(images[:-1], images[1:], mixture),
            mixing.mix_labels(labels[:-1], labels[1:], mixture.label_shares),
        )

    def whole(self, images: np.ndarray, labels: np.ndarray, step: int, part: tuple[int, int]):
        """`change_pixels` of each image and `mix`, of images in memory; those of `needed(part)`.

        Returns: `(images, labels)` of the part; images uint8 where they are not mixed.
        """
        if self.augmentation.changes_pixels:
            images = self.change_all(images, step, self.needed(part))
        return self.mix(images, labels, step, part) if self.augmentation.mixes else (images, labels)


@functools.lru_cache(maxsize=16)  # each image of a batch asks, in several threads
def _chances(seed, purpose, step, batch_size, count):
    chances = uniform(seed, purpose, step, (batch_size, count))
    chances.flags.writeable = False
    return chances


@functools.lru_cache(maxsize=16)
def _erased(seed, step, batch_size, probability, size):
    boxes = erased_boxes(probability, _chances(seed, ERASE, step, batch_size, ERASE_CHANCES), size)
    boxes.flags.writeable = False
    return boxes
