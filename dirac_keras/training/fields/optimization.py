"""How the weights move."""

import dataclasses

from dirac_keras.models.family import describe_layouts
from dirac_keras.training.checks import (
    COUNT,
    NOT_NEGATIVE,
    NOT_NEGATIVE_COUNT,
    POSITIVE,
    SHARE,
    SWITCH,
    Betas,
    Choice,
    Rising,
)
from dirac_keras.training.fields.field import field
from dirac_keras.training.optimization.optimizers import MOMENTUM_RULES
from dirac_keras.training.recipes import RECIPES

SCHEDULES = ("one_cycle", "cosine", "step", "exponential", "plateau", "constant")
OPTIMIZERS = ("sgd", "muon", "adamw", "lion")
SCALINGS = ("none", "linear")


@dataclasses.dataclass(frozen=True)
class OptimizationFields:
    """Fields of the recipe, the learning rate and the optimizer."""

    recipe: str = field(
        "quick",
        "Training",
        Choice(tuple(RECIPES)),
        f"Named settings: {', '.join(RECIPES)}. "
        f"Those of the papers: {describe_layouts(lambda layout: layout.recipe or '')}.",
    )
    epochs: int | None = field(None, "Training", COUNT, "Number of passes over the training images.")
    batch_size: int | None = field(None, "Training", COUNT, "Images per training step, over all devices.")
    learning_rate: float | None = field(None, "Training", POSITIVE, "Peak learning rate.")
    learning_rate_scaling: str = field(
        "none",
        "Training",
        Choice(SCALINGS),
        "none, or linear: learning_rate is for base_batch_size images per step and grows with batch_size.",
    )
    base_batch_size: int | None = field(
        None, "Training", COUNT, "Batch size for which learning_rate holds. Default: that of the recipe."
    )
    schedule: str | None = field(
        None, "Training", Choice(SCHEDULES), f"Learning rate schedule: {', '.join(SCHEDULES)}."
    )
    warmup_fraction: float | None = field(
        None, "Training", SHARE, "Share of the steps in which the rate of one_cycle or cosine rises."
    )
    start_fraction: float | None = field(
        None, "Training", SHARE, "Where the rate of one_cycle or cosine begins, as a share of its peak."
    )
    end_fraction: float | None = field(
        None, "Training", SHARE, "Where the rate of one_cycle or cosine ends, as a share of its peak."
    )
    decay_epochs: tuple | None = field(
        None, "Training", Rising(), "Epochs at which schedule=step lowers the rate, separated by commas."
    )
    decay_factor: float | None = field(
        None,
        "Training",
        NOT_NEGATIVE,
        "Factor on the learning rate: at each decay epoch with schedule=step and each time it falls with plateau, by "
        "default 0.1; over each epoch with exponential, where by default the rate falls to a hundredth of its peak.",
    )
    plateau_patience: int = field(
        10, "Training", COUNT, "Epochs without a better validation figure after which the rate of plateau falls."
    )
    optimizer: str | None = field(
        None,
        "Training",
        Choice(OPTIMIZERS),
        "sgd, muon (the kernels of all layers but the classifier by Muon, the other weights by SGD), adamw or lion; "
        "the last two have learning rates and decays of their own.",
    )
    betas: tuple | None = field(
        None,
        "Training",
        Betas(),
        "Decay rates of the moments of adamw or lion. Default: 0.9,0.999 for adamw, 0.9,0.99 for lion.",
    )
    muon_learning_rate: float | None = field(
        None, "Training", POSITIVE, "Peak step of Muon, a share of a kernel's norm; it follows the schedule."
    )
    muon_momentum: float | None = field(None, "Training", SHARE, "Momentum of Muon.")
    momentum: float | None = field(None, "Training", SHARE, "Momentum of SGD.")
    nesterov: bool | None = field(None, "Training", SWITCH, "Nesterov momentum.")
    momentum_rule: str | None = field(
        None,
        "Training",
        Choice(MOMENTUM_RULES),
        "Where the learning rate falls: pytorch lowers all of the velocity, keras the part of the gradients to come.",
    )
    weight_decay: float | None = field(
        None,
        "Training",
        NOT_NEGATIVE,
        "Weight decay, on kernels alone: a coupled L2 penalty with sgd and muon, decoupled with adamw and lion.",
    )
    dropout: float = field(
        0.0,
        "Training",
        SHARE,
        "Share of the features in front of the layer of the classes that each training step leaves out, by chance.",
    )
    clip_norm: float | None = field(
        None,
        "Training",
        POSITIVE,
        "Largest norm of the gradient of all weights together; a larger one is scaled down to it. Default: any.",
    )
    accumulate_steps: int = field(
        1,
        "Training",
        COUNT,
        "Batches whose mean gradient is one update of the weights; learning rate and schedule count updates.",
    )
    beta_rate: float | None = field(
        None,
        "Training",
        NOT_NEGATIVE,
        "Factor on the learning rate of the shift beta of BatchNormalization; where it is not 1, beta decays as "
        "kernels do.",
    )
    lookahead_steps: int | None = field(
        None,
        "Training",
        NOT_NEGATIVE_COUNT,
        "Every so many steps the weights are drawn to their running average, which counts ever more until the end. "
        "0: never.",
    )
