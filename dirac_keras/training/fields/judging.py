"""What counts as good."""

import dataclasses

from dirac_keras.deployment.views import VIEWS
from dirac_keras.training.checks import COUNT, NOT_NEGATIVE, SHARE, SWITCH, TEXT, Choice
from dirac_keras.training.fields.field import field
from dirac_keras.training.optimization.class_weights import Weights
from dirac_keras.training.optimization.losses import LOSSES


@dataclasses.dataclass(frozen=True)
class JudgingFields:
    """Fields of the loss, the validation and the test."""

    loss: str | None = field(
        None,
        "Training",
        Choice(LOSSES),
        "crossentropy, or focal: images that are classified well already count less.",
    )
    focal_gamma: float | None = field(
        None, "Training", NOT_NEGATIVE, "Power of the focal loss, (1 - p)^gamma times the cross-entropy."
    )
    label_smoothing: float | None = field(
        None, "Training", SHARE, "Share of the target that is spread over all classes."
    )
    class_weights: str | None = field(
        None,
        "Training",
        Weights(),
        "Weights of the classes in the loss: balanced (all classes count alike), cat=2,dog=0.5, or a JSON file of "
        "them; the others have 1. Default: all have 1.",
    )
    early_stopping: int | None = field(
        None,
        "Training",
        COUNT,
        "Epochs without a better validation figure after which the training ends. Default: it does not end early.",
    )
    keep_best: bool | None = field(
        None,
        "Training",
        SWITCH,
        "Keep the weights of the epoch with the best validation figure instead of the last. Default: with "
        "early_stopping yes, else no.",
    )
    monitor: str | None = field(
        None,
        "Training",
        TEXT,
        "Validation figure of early_stopping, keep_best and schedule=plateau: loss, accuracy, top5; of several labels "
        "f1_macro, f1_micro or exact_match, of values mae. Default: accuracy, f1_macro or mae.",
    )
    validation_freq: int = field(
        1, "Training", COUNT, "Epochs from one validation to the next; after the last one there is always one."
    )
    ema_momentum: float = field(
        0,
        "Training",
        SHARE,
        "Exponential moving average of the weights, such as 0.9999; validation, test and the saved model then use the "
        "average. 0: no average.",
    )
    test_time_augmentation: str = field(
        "none",
        "Training",
        Choice(VIEWS),
        "Views of a test image whose outputs are averaged for a second test accuracy: none, flip (itself and its "
        "mirror image), or flip_shift (both, and both shifted by a pixel up-left and down-right).",
    )
