"""How large the units' responses are: mean, spread, maximum, and the units that are dead, constant or saturated."""

from dataclasses import dataclass, field

import numpy as np

BLOCK = 2**18  # responses at a time, whose float64 copies fit a cache
NEAR_BOUND = 0.01  # of the width between the bounds, or of the one bound there is


@dataclass(frozen=True)
class ActivationStatistics:
    """The response `h` of a layer's units over the data; a convolution's positions are samples of their channel.

    | field | what it is |
    |---|---|
    | `responses` | samples times positions of each unit |
    | `mean`, `std` | over all units and samples (the population's) |
    | `mean_absolute`, `max_absolute` | mean and maximum of abs(h); the maximum is Fig. 4 |
    | `normalized_mean` | `mean` divided by the largest absolute mean of any unit of any layer but the classifier's |
    | `share_above` | threshold -> share of single responses with abs(h) above it |
    | `units_above` | threshold -> share of units whose mean of abs(h) is above it, Fig. A1 |
    | `dead_units` | share of units never above 0, behind ReLU and ReLU6; None behind others |
    | `constant_units` | share of units that respond to all data with one value |
    | `saturated_units` | share of units within 1 % of a bound for all data, behind bounded functions; else None |
    | `saturated_responses` | share of single responses within 1 % of a bound; else None |
    | `unit_means` | mean of each unit; not part of `to_dict` |

    The verdicts on units are None for the classifier's output, which is bound to saturate.

    Source: Oyedotun et al., "Revisiting the Training of Very Deep Neural Networks without Skip Connections", Fig. 2
    to 4 and A1. The paper gives no formula for the normalized mean; it speaks of "global units' activations
    normalization" (section VI.A), which is one divisor for all units of all layers. Nor does it say how a unit's
    responses become one number in Fig. A1; here it is the mean, and `share_above` is the other reading.
    """

    responses: int
    mean: float
    mean_absolute: float
    normalized_mean: float | None
    std: float
    max_absolute: float
    share_above: dict
    units_above: dict
    dead_units: float | None
    constant_units: float | None
    saturated_units: float | None
    saturated_responses: float | None
    unit_means: tuple = field(repr=False, metadata={"in_dict": False})


class ActivationMoments:
    """Collects `ActivationStatistics` from blocks of responses, in float64, holding a few numbers a unit.

    Args:
        activation: `Activation` behind which the responses are taken.
        thresholds: of the absolute response.
        is_output: whether the units are the classifier's.

    Source: the merging of means and squares is Chan, Golub & LeVeque 1983, doi.org/10.1080/00031305.1983.10483115,
        eq. 2.1.
    """

    def __init__(self, activation, thresholds=(0.05,), is_output=False):
        self.activation = activation
        self.thresholds = thresholds
        self.is_output = is_output
        self.count = 0

    def update(self, rows):
        """Takes a block `(samples, units)` of finite numbers."""
        for start in range(0, len(rows), step := max(1, BLOCK // rows.shape[1])):
            self._merge(rows[start : start + step])

    def _merge(self, rows):
        count = len(rows)
        mean = rows.mean(axis=0, dtype="float64")
        squares = np.square(rows - mean).sum(axis=0)
        absolute = np.abs(rows)
        lowest, highest = rows.min(axis=0), rows.max(axis=0)
        above = [np.count_nonzero(absolute > threshold) for threshold in self.thresholds]
        saturated = self._saturated(rows)
        if not self.count:
            units = rows.shape[1]
            self.mean, self.squares, self.absolute = np.zeros(units), np.zeros(units), np.zeros(units)
            self.lowest, self.highest = lowest, highest
            self.above = [0] * len(self.thresholds)
            self.saturated = np.zeros(units, "int64")
        total = self.count + count
        shift = mean - self.mean
        self.squares += squares + shift**2 * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.absolute += absolute.sum(axis=0, dtype="float64")
        self.lowest, self.highest = np.minimum(self.lowest, lowest), np.maximum(self.highest, highest)
        self.above = [a + b for a, b in zip(self.above, above, strict=True)]
        self.saturated = self.saturated + saturated
        self.count = total

    def _saturated(self, rows):
        lower, upper = self.activation.bounds
        if lower is None and upper is None:
            return 0
        margin = NEAR_BOUND * (upper - lower if lower is not None and upper is not None else abs(upper or lower))
        near = np.zeros(rows.shape, bool)
        if lower is not None:
            near |= rows < lower + margin
        if upper is not None:
            near |= rows > upper - margin
        return near.sum(axis=0)

    def result(self, largest_mean=None):
        """`ActivationStatistics`; `largest_mean` is the divisor of the normalized mean, None leaves that out."""
        units = len(self.mean)
        responses = self.count * units
        judged = not self.is_output
        bounded = judged and any(bound is not None for bound in self.activation.bounds)
        mean = float(self.mean.mean())
        variance = self.squares.sum() / responses + np.square(self.mean - mean).mean()  # within and between units
        return ActivationStatistics(
            responses=self.count,
            mean=mean,
            mean_absolute=float(self.absolute.sum() / responses),
            normalized_mean=mean / largest_mean if largest_mean and judged else None,
            std=float(np.sqrt(variance)),
            max_absolute=float(max(abs(self.lowest.min()), abs(self.highest.max()))),
            share_above={t: float(n / responses) for t, n in zip(self.thresholds, self.above, strict=True)},
            units_above={t: float(np.mean(self.absolute / self.count > t)) for t in self.thresholds},
            dead_units=float(np.mean(self.highest <= 0)) if judged and self.activation.can_die else None,
            constant_units=float(np.mean(self.highest == self.lowest)) if judged else None,
            saturated_units=float(np.mean(self.saturated == self.count)) if bounded else None,
            saturated_responses=float(self.saturated.sum() / responses) if bounded else None,
            unit_means=tuple(self.mean.tolist()),
        )
