"""`Teaching`: how `plainify` trains."""

import dataclasses

import numpy as np

from dirac_keras.deployment.heads import OUTPUTS
from dirac_keras.errors import UserError, check_choice


@dataclasses.dataclass(frozen=True)
class Teaching:
    """How `plainify` trains, where it does.

    Attributes:
        epochs: int.
        learning_rate: number, the highest of SGD with momentum 0.9, which falls to zero by a cosine. None: 0.05, and
            0.3 of "retrain" for a network with BatchNormalization, as `--recipe quick` has it.
        warmup_fraction: number in [0, 1), share of the steps in which the rate rises from 0 first. None: 0, and 0.25 of
            "retrain", which begins with random kernels.
        teacher: bool, whether the original teaches; else the labels alone do.
        weight: number in [0, 1], the teacher's part in the loss.
        temperature: number above 0, that softens the answers of both in that part.
        features: tuple of str, layers of the original whose outputs the student's are drawn to as well. Of "phase_out",
            whose student has the same layers; none by default.
        feature_weight: number of 0 or more, their part of the loss, a mean over the layers.
        outputs: `"logits"` or `"probabilities"`, what the model gives; None: what its last layers say.
        end: number in (0, 1], share of the epochs after which the skips are gone, of "phase_out".
    """

    epochs: int = 10
    learning_rate: float | None = None
    warmup_fraction: float | None = None
    teacher: bool = True
    weight: float = 0.5
    temperature: float = 4.0
    features: tuple = ()
    feature_weight: float = 1.0
    outputs: str | None = None
    end: float = 0.5

    def __post_init__(self):
        if not is_count(self.epochs) or self.epochs < 1:
            raise UserError(f"epochs must be a whole number above 0. Received epochs={self.epochs!r}.")
        for name, highest in (("learning_rate", np.inf), ("temperature", np.inf), ("end", 1.0)):
            value = getattr(self, name)
            if value is None and name == "learning_rate":
                continue
            if not _is_number(value) or not 0.0 < value <= highest or value == np.inf:
                raise UserError(f"{name} must be a finite number above 0 and at most {highest}. Received {value!r}.")
        warmup = self.warmup_fraction
        if warmup is not None and not (_is_number(warmup) and 0.0 <= warmup < 1.0):
            raise UserError(f"warmup_fraction must be a number of 0 or more and below 1. Received {warmup!r}.")
        if not isinstance(self.teacher, bool):
            raise UserError(f"teacher must be True or False. Received teacher={self.teacher!r}.")
        features = (self.features,) if isinstance(self.features, str) else self.features
        if not isinstance(features, (list, tuple)) or not all(isinstance(name, str) for name in features):
            raise UserError(f"features must be names of layers. Received features={self.features!r}.")
        object.__setattr__(self, "features", tuple(features))
        if not _is_number(self.feature_weight) or not 0.0 <= self.feature_weight < np.inf:
            raise UserError(f"feature_weight must be finite and 0 or more. Received {self.feature_weight!r}.")
        if self.features and not self.teacher:
            raise UserError(f"features are the teacher's. Received features={self.features!r} with teacher=False.")
        if not _is_number(self.weight) or not 0.0 <= self.weight <= 1.0:
            raise UserError(f"weight must be a number from 0 to 1. Received weight={self.weight!r}.")
        if self.outputs is not None:
            check_choice("outputs", self.outputs, OUTPUTS)


def with_rate(teaching, learning_rate=0.05, warmup_fraction=0.0):
    """A `Teaching` whose rate and warm-up, where they are None, are these."""
    return dataclasses.replace(
        teaching,
        learning_rate=learning_rate if teaching.learning_rate is None else teaching.learning_rate,
        warmup_fraction=warmup_fraction if teaching.warmup_fraction is None else teaching.warmup_fraction,
    )


def check_teaching(teaching):
    """Raise UserError unless it is a `Teaching` or None."""
    if teaching is not None and not isinstance(teaching, Teaching):
        raise UserError(f"teaching must be a Teaching or None. Received {teaching!r}.")


def is_count(value):
    """Whether it is a whole number; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_number(value):
    return is_count(value) or isinstance(value, (float, np.floating))
