"""First and second moments of what a layer's taps are multiplied by, before and after the layers below were rounded."""

import numpy as np

MOST_ROWS = 32768  # positions of images that a layer's moments are read from; neighbours say much the same
ROWS_PER_TAP = 16  # at least, for kernels of many taps: fewer would be fitted, not measured


def rows_to_read(rows, taps, images, of_images, random):
    """Which rows of a batch's columns to read, drawn at random; None for all.

    Args:
        rows, taps: ints, of the columns (`Taps.columns`).
        images, of_images: how many images the batch and all batches have.
        random: `numpy.random.Generator`.
    """
    wanted = -(-max(MOST_ROWS, ROWS_PER_TAP * taps) * images // of_images)
    return None if rows <= wanted else np.sort(random.choice(rows, wanted, replace=False))


class Moments:
    """Sums over the data of a layer's inputs as the original network has them (`x`) and the rounded (`h`).

    Attributes (after `add`; parts as in `Taps`):
        gram: `(parts, taps, taps)`, the sum of `(h - mean h)(h - mean h)^T`.
        cross: `(parts, filters, taps)`, the sum of `W (x - mean x)(h - mean h)^T`.
        mean, mean_original: `(parts, taps)`, of h and x.
    """

    def __init__(self, with_gram=True, matrices=None):
        """What is left out is not summed: the products are what takes the time.

        Args:
            with_gram: whether `gram` is wanted.
            matrices: `(parts, filters, taps)`, the W of `cross`; None: it is not wanted.
        """
        self._with_gram, self._matrices = with_gram, matrices
        # A layer with far fewer filters than taps, as most are, is multiplied by W at once, else at the end.
        is_narrow = matrices is not None and 2 * matrices.shape[1] < matrices.shape[2]
        self._first = matrices.astype("float32") if is_narrow else None
        self._count = 0
        self._products, self._cross, self._sum, self._sum_original = 0.0, 0.0, 0.0, 0.0
        self._near, self._near_original = None, None

    def add(self, original, rounded):
        """Count the columns (`Taps.columns`) of a batch, `(parts, rows, taps)` each.

        The products of a batch are float32, their sum over the batches float64. All is counted from the means of the
        first batch: of taps that hardly vary the products would else be rounding alone.
        """
        if self._near is None:
            self._near, self._near_original = (_middle(columns) for columns in (rounded, original))
        rounded, original = rounded - self._near, original - self._near_original
        self._count += rounded.shape[1]
        if self._with_gram:
            self._products = self._products + (rounded.transpose(0, 2, 1) @ rounded).astype("float64")
        if self._matrices is not None:
            given = original.transpose(0, 2, 1)  # (parts, taps or filters, rows)
            given = given if self._first is None else self._first @ given
            self._cross = self._cross + (given @ rounded).astype("float64")
        self._sum = self._sum + rounded.sum(axis=1, dtype="float64")
        self._sum_original = self._sum_original + original.sum(axis=1, dtype="float64")

    @property
    def mean(self):
        return self._near[:, 0] + self._sum / self._count

    @property
    def mean_original(self):
        return self._near_original[:, 0] + self._sum_original / self._count

    @property
    def gram(self):
        return self._products - _outer(self._sum, self._sum) / self._count

    @property
    def cross(self):
        given = self._sum_original
        given = given if self._first is None else np.einsum("pft,pt->pf", self._first, given)
        cross = self._cross - _outer(given, self._sum) / self._count
        return cross if self._first is not None else self._matrices @ cross


def _middle(columns):
    """`(parts, 1, taps)`, the means of the columns of a batch."""
    return columns.mean(axis=1, keepdims=True, dtype="float64").astype("float32")


def _outer(left, right):
    return left[:, :, None] * right[:, None, :]
