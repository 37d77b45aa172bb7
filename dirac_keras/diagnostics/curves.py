"""What can be drawn over the depth of a network: where a record keeps it, what it is, what is healthy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """Where a record keeps a quantity and how it is drawn.

    Attributes:
        group, field: of a `LayerRecord`.
        label: of the axis.
        meaning: one line, what it is and what is healthy.
        is_log: bool, for what spans powers of ten.
        is_share: bool, drawn in per cent.
    """

    group: str
    field: str
    label: str
    meaning: str
    is_log: bool = False
    is_share: bool = False


CURVES = {
    "mean": Curve(
        "activations",
        "mean",
        "mean activation",
        "The mean response of all units. Healthy: of one size over the depth.",
    ),
    "normalized_mean": Curve(  # Fig. 2, 3
        "activations",
        "normalized_mean",
        "normalized mean activation",
        "The mean response, divided by the largest mean of any unit of any layer. Healthy: no fall towards 0.",
    ),
    "std": Curve(
        "activations",
        "std",
        "standard deviation of activations",
        "How far the responses spread. Healthy: of one size; a steady fall dies out, a steady rise blows up.",
        is_log=True,
    ),
    "max_absolute": Curve(  # Fig. 4
        "activations",
        "max_absolute",
        "maximum absolute activation",
        "The largest response to any image. Healthy: bounded over the depth; float16 ends at 65,504.",
        is_log=True,
    ),
    "units_above": Curve(  # Fig. A1
        "activations",
        "units_above",
        "% of units above threshold",
        "Units whose mean absolute response is above the threshold, those that take part. Healthy: no fall to 0 %.",
        is_share=True,
    ),
    "share_above": Curve(
        "activations",
        "share_above",
        "% of activations above threshold",
        "Single responses above the threshold. Healthy: no fall to 0 %.",
        is_share=True,
    ),
    "dead_units": Curve(
        "activations",
        "dead_units",
        "% of dead units",
        "Units behind ReLU that are 0 for every image: no gradient reaches them. Healthy: near 0 %.",
        is_share=True,
    ),
    "rank": Curve(
        "spectrum",
        "rank",
        "rank of activations",
        "Directions in the responses that are more than rounding. Healthy: as many as there are units, or images.",
    ),
    "effective_rank": Curve(
        "spectrum",
        "effective_rank",
        "effective rank of activations",
        "How many directions carry the responses, the weak ones counted less. Healthy: no steady fall over the depth.",
    ),
    "activation_condition_number": Curve(
        "spectrum",
        "condition_number",
        "condition number of activations",
        "The strongest direction of the responses by the weakest; infinite where some depend on others.",
        is_log=True,
    ),
    "collinear_pairs": Curve(
        "spectrum",
        "collinear_pairs",
        "% of collinear pairs of units",
        "Pairs of units that respond alike (absolute cosine above 0.99). Healthy: near 0 %.",
        is_share=True,
    ),
    "weight_condition_number": Curve(  # Fig. 5
        "weights",
        "condition_number",
        "infinity-norm condition number of weights",
        "How unevenly a kernel stretches its inputs. Healthy: no steady rise over the depth.",
        is_log=True,
    ),
    "filter_norm": Curve(
        "weights",
        "filter_norm_median",
        "median filter norm",
        "The median norm of a unit's weights. Healthy: of one size over the depth.",
    ),
    "relative_distance": Curve(
        "weights",
        "relative_distance",
        "relative distance from the start",
        "How far the kernel is from where it started, relative to it. Near 0: the layer has learned nothing.",
        is_log=True,
    ),
    "kernel_gradient_norm": Curve(
        "gradients",
        "kernel_gradient_norm",
        "norm of kernel gradient",
        "The gradient of the mean loss by the kernel. Healthy: of one size over the depth.",
        is_log=True,
    ),
    "gradient_cosine": Curve(
        "gradients",
        "cosine",
        "mean cosine of samples' gradients",
        "How alike the gradients of two images are. Near 0 in all layers: shattered, the images pull at random.",
    ),
    "degraded_filters": Curve(
        "scales",
        "degraded_filters",
        "% of degraded filters",
        "Filters of a Dirac layer that have lost their skip (a) or their weights (b). Healthy: 0 %.",
        is_share=True,
    ),
}
