"""The accuracy of a network on corrupted images."""

import dataclasses

import numpy as np

from dirac_keras.evaluation.corruptions.applying import corrupt
from dirac_keras.evaluation.corruptions.table import SMALL, STRENGTHS
from dirac_keras.evaluation.intervals import wilson
from dirac_keras.evaluation.outcomes import READERS, choose, pixels_of


@dataclasses.dataclass(frozen=True)
class Robustness:
    """How many images stay right under each corruption.

    Attributes:
        images: int, of which each was corrupted in every way.
        clean: int, of them right as they are.
        right: dict, name of a corruption -> tuple of ints, images right at strengths 1 to 5.
        common: names of the corruptions whose mean is taken.
        constants: `"CIFAR-10-C"` or `"ImageNet-C"`: whose constants.
    """

    images: int
    clean: int
    right: dict
    common: tuple
    constants: str

    def accuracy(self, name):
        """Mean accuracy over the five strengths."""
        return float(np.mean(self.right[name]) / self.images)

    def mean(self):
        """Mean accuracy over the common corruptions, each the mean over strengths; None if none was asked for."""
        return float(np.mean([self.accuracy(name) for name in self.common])) if self.common else None

    def to_dict(self):
        """JSON-safe."""
        shares = {name: [count / self.images for count in counts] for name, counts in self.right.items()}
        mean = self.mean()
        clean = wilson(self.clean, self.images)
        return {
            "images": self.images,
            "constants": self.constants,
            "clean": {"accuracy": clean.value, "low": clean.low, "high": clean.high},
            "mean_accuracy": mean,
            "mean_over": list(self.common),
            "corruptions": {
                name: {"accuracy": accuracies, "mean": self.accuracy(name)} for name, accuracies in shares.items()
            },
        }


def measure(predict, batches, spec, table, total, corruptions, most=None, seed=0):
    """Count right images under corruptions, in one pass over the data: memory is that of a batch.

    Args:
        predict, batches, spec, total: as in `outcomes.collect`; of classes or labels.
        table: `(256, channels)` float32, what the network sees of each pixel value.
        corruptions: list of `Corruption`.
        most: so many images at most, drawn at random; None: all.
        seed: draws them, and what is random in a corruption.

    Returns: `Robustness`.
    """
    read = READERS[spec.task]
    chosen = choose(total, most or total, seed)
    right = {corruption.name: np.zeros(len(STRENGTHS), int) for corruption in corruptions}
    clean = images_seen = 0
    for images, truth, indices in drawn_batches(batches, chosen):
        clean += int(read(predict(images), truth)[0]["right"].sum())
        pixels = pixels_of(images, spec)
        for name, counts in right.items():
            for slot, strength in enumerate(STRENGTHS):
                drawn = zip(pixels, indices.tolist(), strict=True)
                changed = np.stack([corrupt(image, name, strength, seed, index) for image, index in drawn])
                counts[slot] += int(read(predict(seen(changed, table)), truth)[0]["right"].sum())
        images_seen += len(indices)
    return Robustness(
        images_seen,
        clean,
        {name: tuple(map(int, counts)) for name, counts in right.items()},
        tuple(corruption.name for corruption in corruptions if corruption.is_common),
        "CIFAR-10-C" if min(spec.image_shape[:2]) < SMALL else "ImageNet-C",
    )


def drawn_batches(batches, chosen):
    """Of a stream the images at some places, in batches of the stream's size: another size is another compilation.

    Args:
        batches: iterable of `(images, labels)`.
        chosen: int array, sorted: places in the stream.

    Yields: `(images, labels, places)`; the last batch may be smaller.
    """
    waiting, start, size = [], 0, None
    for images, truth in batches:
        images, truth = np.asarray(images), np.asarray(truth)
        size = size or len(truth)
        end = start + len(truth)
        places = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, end)]
        waiting.append((images[places - start], truth[places - start], places))
        start = end
        if sum(len(part[-1]) for part in waiting) >= size:
            whole = [np.concatenate(parts) for parts in zip(*waiting, strict=True)]
            yield tuple(part[:size] for part in whole)
            waiting = [tuple(part[size:] for part in whole)]
    if waiting:
        whole = [np.concatenate(parts) for parts in zip(*waiting, strict=True)]
        if len(whole[-1]):
            yield tuple(whole)


def seen(pixels, table):
    """Pixels uint8 `(batch, height, width, channels)` as a network takes them, by its table."""
    return table[pixels, np.arange(table.shape[-1])]
