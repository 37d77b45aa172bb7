"""How a run is run: precision, seed, start, frozen layers, checkpoints, trackers."""

import dataclasses

from dirac_keras.callbacks.trackers.names import NAMES, NO_TRACKER, TrackerNames
from dirac_keras.training.checks import COUNT, POSITIVE, SEED, TEXT
from dirac_keras.training.fields.field import field
from dirac_keras.training.start.layer_patterns import Patterns, Rates


@dataclasses.dataclass(frozen=True)
class RunningFields:
    """Fields of what is around the training."""

    precision: str | None = field(None, "Training", TEXT, "auto, float32, bfloat16, float16 or float64.")
    seed: int = field(0, "Training", SEED, "Seed of the initial weights, the order and the augmentation.")
    start: str | None = field(
        None,
        "Training",
        TEXT,
        "Weights to start from: the folder of a run, or a .keras file, of the same architecture; with family=file any "
        "network of images in a .keras file, as it stands there. The layer of the classes begins anew where they are "
        "others. Default: random weights.",
    )
    start_input: str | None = field(
        None,
        "Training",
        TEXT,
        "What the images of a network of family=file are scaled to, where its file does not say so: pixels (0 to 255), "
        "unit (0 to 1), symmetric (-1 to 1), standardized, or MEANS/DEVIATIONS in units of 0 to 255.",
    )
    freeze: str | None = field(
        None,
        "Training",
        Patterns(),
        "Layers that keep their weights, by name, such as 'conv1*,group1*'; their BatchNormalization uses the "
        "statistics that it has. Default: none.",
    )
    unfreeze_epoch: int | None = field(
        None, "Training", COUNT, "Finished epochs after which the frozen layers are trained too. Default: never."
    )
    learning_rate_of: str | None = field(
        None,
        "Training",
        Rates(),
        "Factors on the learning rate of groups of layers, by name, the first that fits: 'head*=1,group*=0.1'. "
        "Default: 1 for all.",
    )
    keep_checkpoints: int = field(2, "Training", COUNT, "Number of checkpoints to keep.")
    checkpoint_steps: int | None = field(
        None, "Training", POSITIVE, "Steps between checkpoints; every epoch ends with one as well."
    )
    checkpoint_seconds: float | None = field(300, "Training", POSITIVE, "Seconds between checkpoints.")
    tracker: str = field(
        NO_TRACKER,
        "Training",
        TrackerNames(),
        f"Services that get the figures of every epoch beside tb/: none, or {', '.join(NAMES)}, several joined by "
        "commas; each needs the extra of its name.",
    )
