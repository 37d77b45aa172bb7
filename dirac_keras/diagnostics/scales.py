"""The scales of Dirac layers: how much of the skip and of the filters is left."""

from dataclasses import dataclass

import numpy as np
from keras import ops

SCALE_THRESHOLD = 0.01  # a tenth of where the paper starts b


@dataclass(frozen=True)
class ScaleStatistics:
    """The scales `a` (`identity_scale`) and `b` (`filter_scale`) of `W_hat = diag(a) I + diag(b) W_norm`.

    | field | what it is |
    |---|---|
    | `identity_scale_mean`, `filter_scale_mean` | Fig. 2 of the paper |
    | `identity_scale_min`, `filter_scale_min` | smallest absolute value |
    | `weak_identities`, `weak_filters` | share of filters with abs(a), or abs(b), below the threshold |
    | `degraded_filters` | share with either |

    None for a scale that the layer does not have (eq. 4 and 8): it is 1 there and no filter is weak in it.

    Source: Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 5 and section 3.3.
    """

    identity_scale_mean: float | None
    identity_scale_min: float | None
    filter_scale_mean: float | None
    filter_scale_min: float | None
    weak_identities: float | None
    weak_filters: float | None
    degraded_filters: float


def measure_scales(layer, threshold=SCALE_THRESHOLD):
    """`ScaleStatistics` of a layer; None for a layer without scales.

    Args:
        layer: any built layer.
        threshold: number, an absolute scale below it is as good as 0.
    """
    found = [getattr(layer, name, None) for name in ("identity_scale", "filter_scale")]
    if all(scale is None for scale in found):
        return None
    scales = [None if scale is None else ops.convert_to_numpy(scale).astype("float64") for scale in found]
    weak = [None if scale is None else np.abs(scale) < threshold for scale in scales]
    a, b = scales
    return ScaleStatistics(
        identity_scale_mean=_of(a, np.mean),
        identity_scale_min=_of(a, lambda x: np.abs(x).min()),
        filter_scale_mean=_of(b, np.mean),
        filter_scale_min=_of(b, lambda x: np.abs(x).min()),
        weak_identities=_of(weak[0], np.mean),
        weak_filters=_of(weak[1], np.mean),
        degraded_filters=float(np.mean(np.any([w for w in weak if w is not None], axis=0))),
    )


def _of(values, function):
    return None if values is None else float(function(values))
