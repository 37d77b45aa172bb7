"""`Teaching`: how `plainify` trains."""

import dataclasses

import numpy as np

from dirac_keras.errors import UserError


@dataclasses.dataclass(frozen=True)
class Teaching:
    """How `plainify` trains, where it does.

    Attributes:
        epochs: int.
        learning_rate: number, of SGD with momentum 0.9, which falls to zero by a cosine.
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
    learning_rate: float = 0.05
    teacher: bool = True
    weight: float = 0.5
    temperature: float = 4.0
    features: tuple = ()
    feature_weight: float = 1.0
    outputs: str | None = None
    end: float = 0.5

    def __post_init__(self):
        is_count = isinstance(self.epochs, int) and not isinstance(self.epochs, bool)
        if not is_count or self.epochs < 1:
            raise UserError(f"epochs must be a whole number above 0. Received epochs={self.epochs!r}.")
        for name, highest in (("learning_rate", np.inf), ("temperature", np.inf), ("end", 1.0)):
            value = getattr(self, name)
            if not 0.0 < value <= highest or value == np.inf:
                raise UserError(f"{name} must be a finite number above 0 and at most {highest}. Received {value!r}.")
        object.__setattr__(
            self, "features", (self.features,) if isinstance(self.features, str) else tuple(self.features)
        )
        if not 0.0 <= self.feature_weight < np.inf:
            raise UserError(f"feature_weight must be finite and 0 or more. Received {self.feature_weight!r}.")
        if self.features and not self.teacher:
            raise UserError(f"features are the teacher's. Received features={self.features!r} with teacher=False.")
        if not 0.0 <= self.weight <= 1.0:
            raise UserError(f"weight must be a number from 0 to 1. Received weight={self.weight!r}.")
