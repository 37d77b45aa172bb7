"""Numbers of an image: how far off they are."""

import dataclasses

import numpy as np
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error


@dataclasses.dataclass(frozen=True)
class ValueFigures:
    """One number of each image, in its own unit.

    Attributes:
        name: str.
        mean_absolute_error, root_mean_squared_error: of the network.
        r2: share of the variance that it explains; None where all values are the same, or for fewer than two images.
        deviation: standard deviation of the true values: the error of always answering their mean.
    """

    name: str
    mean_absolute_error: float
    root_mean_squared_error: float
    r2: float | None
    deviation: float


def deviations(truth):
    """Standard deviation of each column of `(images, values)`, float64 `(values,)`: the unit that makes errors of
    several values comparable. 1 for a value that does not vary, whose errors stay in its own unit."""
    found = np.std(np.asarray(truth, "float64"), axis=0)
    return np.where(found > 0, found, 1.0)


def value_figures(truth, predictions, names):
    """`ValueFigures` of each column of two arrays `(images, values)`."""
    truth, predictions = (np.asarray(array, "float64") for array in (truth, predictions))
    rows = []
    for k, name in enumerate(names):
        is_varied = len(truth) > 1 and np.ptp(truth[:, k]) > 0
        rows.append(
            ValueFigures(
                str(name),
                float(mean_absolute_error(truth[:, k], predictions[:, k])),
                float(root_mean_squared_error(truth[:, k], predictions[:, k])),
                float(r2_score(truth[:, k], predictions[:, k])) if is_varied else None,
                float(np.std(truth[:, k])),
            )
        )
    return rows
