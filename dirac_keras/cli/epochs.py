"""The training images of a data set, epoch after epoch, as the functions of `conversion` go through them."""

import itertools


class Epochs:
    """The training images of an epoch each time it is gone through, augmented, in another order.

    Args:
        splits: `pipelines.Splits`.
    """

    def __init__(self, splits):
        self.steps = splits.steps_per_epoch
        self.stream = iter(splits.train(0))

    def __len__(self):
        return self.steps

    def __iter__(self):
        return itertools.islice(self.stream, self.steps)
