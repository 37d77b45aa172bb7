"""Where a measurement becomes a finding."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Where a measurement becomes a finding. How the values were found: docs/doctor.md.

    | field | of what |
    |---|---|
    | `own_share` | share of a layer's responses that is not one pattern common to all images, `1 - leading_share` |
    | `relative_gradient` | largest gradient of any hidden kernel, relative to the kernel: at least |
    | `relative_gradient_limit` | the same, at most, in a network without normalization |
    | `gradient_growth` | largest by smallest of those |
    | `rank_per_class` | effective rank of the last hidden layer of a trained network, divided by the classes |
    | `living_units` | share of a layer's units that are above 0 for some image, behind ReLU and ReLU6 |
    """

    own_share: float = 2e-3
    relative_gradient: float = 1e-5
    relative_gradient_limit: float = 100.0
    gradient_growth: float = 6e4
    rank_per_class: float = 0.26
    living_units: float = 0.25


DEFAULT_THRESHOLDS = Thresholds()
