"""What goes away in the course of a training: skip connections, and the identities of Dirac kernels."""

import dataclasses

from dirac_keras.phase_out.dissolving import KURTOSIS
from dirac_keras.training.checks import NOT_NEGATIVE, WHOLE
from dirac_keras.training.fields.field import field, layouts_defaults


@dataclasses.dataclass(frozen=True)
class RemovalFields:
    """Fields of the phase-out of skip connections and of identities."""

    phase_out_fraction: float | None = field(
        None,
        "Training",
        NOT_NEGATIVE,
        "eta' / eta, step of the multipliers as a share of the learning rate. "
        f"Default: {layouts_defaults('phase_out_fraction')}.",
    )
    phase_out_start: float = field(0, "Training", NOT_NEGATIVE, "Epoch at which the skip connections begin to fade.")
    phase_out_end: float | None = field(
        None,
        "Training",
        NOT_NEGATIVE,
        "Epoch at which the skip connections are gone, fading linearly until then; half of the epochs suits deep "
        "networks. Default: as fast as the multipliers make them.",
    )
    identity_decay: float = field(
        0.0,
        "Training",
        NOT_NEGATIVE,
        "Coupled L2 penalty on the scale a of the identity of Dirac kernels, so that int8 leaves learned taps room.",
    )
    identity_bound: float | None = field(
        None,
        "Training",
        NOT_NEGATIVE,
        "Largest |a| / |b| of a Dirac filter at the end, so that int8 leaves its learned taps room; a falls to it by "
        "degrees. Default: no bound.",
    )
    identity_bound_start: float = field(0, "Training", NOT_NEGATIVE, "Epoch at which the bound begins to fall.")
    identity_bound_end: float | None = field(
        None, "Training", NOT_NEGATIVE, "Epoch at which the bound has fallen. Default: at 60 % of the epochs."
    )
    dissolve_epoch: int | None = field(
        None,
        "Training",
        WHOLE,
        "Finished epochs after which the identity of Dirac kernels becomes part of their ordinary weights, and a "
        "penalty on the kurtosis spreads it over them, for int8. Default: never.",
    )
    kurtosis_penalty: float = field(
        KURTOSIS,
        "Training",
        NOT_NEGATIVE,
        "Weight of the penalty on the kurtosis of each filter from dissolve_epoch on.",
    )
    peak_penalty: float = field(
        0.0,
        "Training",
        NOT_NEGATIVE,
        "Weight of a penalty on the largest weight of each filter over the root mean square, from dissolve_epoch on.",
    )
    identity_phase_out: float | None = field(
        None,
        "Training",
        NOT_NEGATIVE,
        "The identity of Dirac kernels goes by multipliers of the constraint a = 0, whose step is this share of the "
        "learning rate; for int8. Default: it stays.",
    )
    identity_phase_out_start: float = field(
        0, "Training", NOT_NEGATIVE, "Epoch at which the multipliers begin to move."
    )
    identity_multiplier: float = field(
        1.0, "Training", NOT_NEGATIVE, "The multipliers when they begin to move; 1 is the paper's."
    )
