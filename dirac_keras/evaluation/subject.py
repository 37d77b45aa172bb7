"""A network with the data that it is judged on."""

import dataclasses
import functools
import typing

import numpy as np

from dirac_keras.deployment.evaluation import check_classes, preprocessed_as, stream_of
from dirac_keras.deployment.feeding import batch_runner
from dirac_keras.deployment.heads import find_head
from dirac_keras.deployment.views import VIEWS, averaged_over_views
from dirac_keras.errors import UserError, check_choice
from dirac_keras.evaluation.outcomes import VALUES, collect
from dirac_keras.evaluation.values import deviations


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network, its data, and how the one is fed with the other.

    Attributes:
        name: str, what a report calls it: its path.
        model: `keras.Model`.
        data: dict of the data set it was trained on, or None.
        splits: `pipelines.Splits` or `ArraySplits`.
        split: `"test"`, `"validation"` or `"train"` (not augmented).
        input, outputs: as in `deployment.evaluation.evaluate`.
    """

    name: str
    model: typing.Any
    data: dict | None
    splits: typing.Any
    split: str = "test"
    input: str | None = None
    outputs: str | None = None

    @functools.cached_property
    def _fed(self):
        check_classes(self.model, self.data, self.splits.spec)
        return preprocessed_as(self.data, self.splits, self.model, self.input)

    @property
    def fed_splits(self):
        """The data as the network is fed with them."""
        return self._fed[0]

    @property
    def feed(self):
        """`feeding.Feed`."""
        return self._fed[1]

    @property
    def spec(self):
        """`pipelines.DataSpec` that the images are scaled by."""
        return self.fed_splits.spec

    @property
    def total(self):
        """Images of the part. Raises: ValueError: if there are none."""
        part = self.fed_splits.parts.get(self.split)
        if part is None or len(part) == 0:
            raise UserError(
                f"`data`: {self.spec.name} has no {self.split} images. Give another `split`, or other data."
            )
        return len(part)

    def name_of(self, index):
        """The file of an image, or what its source calls it; None if it has a number alone."""
        return self.fed_splits.parts[self.split].name(index)

    def batches(self):
        """`(images, labels)` of the part, in order, once."""
        return stream_of(self.fed_splits, self.split)

    def predictor(self, test_time_augmentation="none"):
        """A function of images -> probabilities `(batch, units)`; of values, the numbers themselves."""
        check_choice("test_time_augmentation", test_time_augmentation, VIEWS)
        run = averaged_over_views(batch_runner(self.model), test_time_augmentation)
        if self.spec.task == VALUES:
            return lambda images: _finite(run(images))
        head = find_head(self.model, self.outputs, self.spec.task)
        return lambda images: head.probabilities(run(images))

    def collect(self, test_time_augmentation="none", seed=0):
        """`Outcomes` of the part."""
        total, units = self.total, None
        if self.spec.task == VALUES:
            units = deviations(self.fed_splits.parts[self.split].labels)
        return collect(self.predictor(test_time_augmentation), self.batches(), self.spec, total, seed, units=units)


def _finite(values):
    """What a network gives. Raises: ValueError: if it is NaN or infinite."""
    if not np.isfinite(values).all():
        count = int(np.sum(~np.isfinite(values).all(axis=-1)))
        raise UserError(
            f"the model's values are not finite (NaN or infinite) for {count} of {len(values)} images: its weights, "
            "its precision or what it is fed with (`input`) is wrong."
        )
    return values
