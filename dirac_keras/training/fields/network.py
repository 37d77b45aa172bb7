"""What is trained."""

import dataclasses

from dirac_keras.models.family import FAMILIES, describe_layouts
from dirac_keras.training.checks import ANY_NUMBER, COUNT, NOT_NEGATIVE, POSITIVE, SWITCH, TEXT
from dirac_keras.training.fields.field import field, layouts_defaults


def _layouts():
    named = [f"{name}: {', '.join(family.layouts)}" for name, family in FAMILIES.items() if len(family.layouts) > 1]
    return "; ".join(named)


@dataclasses.dataclass(frozen=True)
class NetworkFields:
    """Fields of the network; some families have but a part of them."""

    family: str | None = field(
        None,
        "Model",
        TEXT,
        f"Model family: {', '.join(FAMILIES)}; or file: the network in the file of start, of whatever kind.",
    )
    depth: int | None = field(
        None,
        "Model",
        COUNT,
        f"Number of layers. {describe_layouts(lambda layout: layout.depth_rule)}; any number for the others.",
    )
    layout: str | None = field(
        None, "Model", TEXT, f"Form of the network. {_layouts()}. Default: the first of the family."
    )
    width: float | None = field(None, "Model", POSITIVE, "Factor on the channels of convolutional networks.")
    units: int | None = field(
        None, "Model", COUNT, f"Units of each hidden layer of dense networks. Default: {layouts_defaults('units')}."
    )
    parameterization: str | None = field(
        None,
        "Model",
        TEXT,
        "Kernels: dirac, dirac_unnormalized, dirac_unscaled or plain. "
        f"Default: {layouts_defaults('parameterization')}; dirac for the others.",
    )
    activation: str | None = field(
        None, "Model", TEXT, f"Between the layers: gelu or relu. Default: {layouts_defaults('activation')}."
    )
    kernel_initializer: str | None = field(
        None,
        "Model",
        TEXT,
        "Initializer of the kernels, a Keras name, or paper: N(0, 1) for Dirac kernels, he_uniform for plainnet, "
        "he_normal for other kernels.",
    )
    filter_scale: float | None = field(
        None, "Model", NOT_NEGATIVE, "Initial value of b, the weight of the filters beside the identity."
    )
    scenario: str = field("proposed", "Model", TEXT, "naive, proposed, or any of bn, lrelu, maxnorm joined by +.")
    skips: bool = field(True, "Model", SWITCH, "Skip connections; without them it is the plain network.")
    sigma: float | None = field(
        None,
        "Model",
        NOT_NEGATIVE,
        "Kernels I + W with W from N(0, sigma^2) instead of ordinary ones, or with kernel_initializer=orthogonal a "
        "random orthogonal matrix times sigma. Default: ordinary ones.",
    )
    gate_bias: float | None = field(
        None, "Model", ANY_NUMBER, "Initial bias of the gates. Default: -1 for dense, -2 for conv."
    )
    skip_constraint: bool = field(
        True, "Model", SWITCH, "Multipliers that take the skip connections away; without them it is VAN(lambda = 0)."
    )
