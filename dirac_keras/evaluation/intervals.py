"""Confidence intervals of shares, and the comparison of two classifiers on the same images."""

import dataclasses

import numpy as np
from scipy import stats

from dirac_keras.errors import UserError

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """A share or a difference of two, with its confidence interval. The fields are numbers, not percent."""

    value: float
    low: float
    high: float


def wilson(successes, total):
    """The share of successes with its Wilson score interval at 95 %.

    It stays in 0 to 1 and holds its promise for few images and shares near 1, where `p +- 1.96 s` does not.

    Args:
        successes, total: ints, `0 <= successes <= total`, `total >= 1`.

    Returns: `Interval`.
    Raises: ValueError: if there is nothing to take a share of.
    Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209-212; without continuity correction. `scipy.stats` computes it.
    """
    if total < 1:
        raise UserError(f"total must be 1 or more, there is no share of nothing. Received total={total}.")
    found = stats.binomtest(int(successes), int(total)).proportion_ci(CONFIDENCE, method="wilson")
    # Rounding leaves 1e-17 beside the exact 0 and 1.
    low, high = (0.0 if successes == 0 else float(found.low)), (1.0 if successes == total else float(found.high))
    return Interval(successes / total, low, high)


@dataclasses.dataclass(frozen=True)
class Paired:
    """How often two classifiers are right on the same images.

    Attributes:
        both, only_first, only_second, neither: ints, images.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first, second):
        """Of two arrays `(images,)` of bool: whether each classifier is right. They are of the same images."""
        first, second = np.asarray(first, bool), np.asarray(second, bool)
        cells = (first & second, first & ~second, ~first & second, ~first & ~second)
        return cls(*(int(np.sum(cell)) for cell in cells))

    @property
    def total(self):
        return self.both + self.only_first + self.only_second + self.neither


@dataclasses.dataclass(frozen=True)
class McNemar:
    """McNemar's test that two classifiers are right equally often.

    Attributes:
        exact: p-value of the exact test.
        chi_squared: statistic with Edwards' continuity correction, `(|b - c| - 1)^2 / (b + c)`; 0 where b = c.
        approximate: its p-value, one degree of freedom.
    """

    exact: float
    chi_squared: float
    approximate: float


def mcnemar(paired):
    """McNemar's test, exact and with continuity correction.

    Only images that one of the two has right tell: under the hypothesis, each of these `b + c` is a fair coin.

    Args:
        paired: `Paired`; b is `only_first`, c `only_second`.

    Returns: `McNemar`. Without such an image both p-values are 1.
    Source: McNemar 1947, Psychometrika 12, 153-157; Edwards 1948, Psychometrika 13, 185-187.
    """
    b, c = paired.only_first, paired.only_second
    if b + c == 0:
        return McNemar(1.0, 0.0, 1.0)
    statistic = max(abs(b - c) - 1, 0) ** 2 / (b + c)
    exact = float(stats.binomtest(b, b + c).pvalue)
    return McNemar(exact, statistic, float(stats.chi2.sf(statistic, 1)))


def difference(paired):
    """How much more often the first of two classifiers is right, with an interval at 95 % that knows they are paired.

    Newcombe's method 10: the Wilson intervals of both, put together with the correlation of the two.

    Args:
        paired: `Paired` of one image or more.

    Returns: `Interval`, each number in -1 to 1.
    Source: Newcombe 1998, Stat. Med. 17, 2635-2650, method 10.
    """
    a, b, c, d = paired.both, paired.only_first, paired.only_second, paired.neither
    first, second = wilson(a + b, paired.total), wilson(a + c, paired.total)
    phi = _correlation(a, b, c, d)
    value = (b - c) / paired.total

    def distance(one, other):
        # Rounding may leave a square of -1e-18.
        return np.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))

    below = distance(first.value - first.low, second.high - second.value)
    above = distance(second.value - second.low, first.high - first.value)
    return Interval(value, float(value - below), float(value + above))


def _correlation(a, b, c, d):
    """Newcombe's phi of the four counts, with his correction of a positive one; 0 where a sum of them is 0."""
    product = (a + b) * (c + d) * (a + c) * (b + d)
    if product == 0:
        return 0.0
    cross = a * d - b * c
    if cross > 0:
        cross = max(cross - (a + b + c + d) / 2, 0.0)
    return cross / float(product) ** 0.5
