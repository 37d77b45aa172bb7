"""What a training run is: one frozen record, from options, a file or Python."""

import dataclasses
import difflib

from dirac_keras.callbacks.trackers.names import NAMES, NO_TRACKER, TrackerNames
from dirac_keras.deployment.views import VIEWS
from dirac_keras.errors import UserError
from dirac_keras.models.family import FAMILIES, SIZES, describe_layouts, families_with, find_family, is_of_some_families
from dirac_keras.phase_out.dissolving import KURTOSIS
from dirac_keras.training.checks import (
    ANY_NUMBER,
    COUNT,
    NOT_NEGATIVE,
    NOT_NEGATIVE_COUNT,
    POSITIVE,
    SEED,
    SHARE,
    SWITCH,
    TEXT,
    WHOLE,
    Betas,
    Choice,
    Rising,
)
from dirac_keras.training.class_weights import Weights, without_file
from dirac_keras.training.combinations import check_combination
from dirac_keras.training.layer_patterns import Patterns, Rates
from dirac_keras.training.losses import LOSSES
from dirac_keras.training.optimizers import MOMENTUM_RULES
from dirac_keras.training.recipes import OTHER_NETWORKS, RECIPES, defaults_beside

SCHEDULES = ("one_cycle", "cosine", "step", "exponential", "constant")
OPTIMIZERS = ("sgd", "muon", "adamw", "lion")
# What fields of some families are for the others.
WITHOUT_EFFECT = {"width": 1.0, "parameterization": "dirac"}
BOUND_FALLEN = 0.6  # of the epochs: what is left of them makes good what went (docs/diracnets.md)
MAX_PIXELS = 2**27  # `pipelines.decoding.rule.DEFAULT_MAX_PIXELS`, which needs TensorFlow
SCALINGS = ("none", "linear")
TASKS = ("auto", "classes", "labels", "values")
GROUPS = ("Data", "Model", "Training")  # of the fields, in the order of a help text
REMOVED = {"kind": "layout", "variant": "layout"}  # former field -> the one that took its place


def _field(default, group, check, text):
    """A field of `TrainConfig`: its default, group, the check of its values, and its help text.

    The families for which it decides something are read from their records.
    """
    return dataclasses.field(default=default, metadata={"group": group, "check": check, "help": text})


def _layouts():
    named = [f"{name}: {', '.join(family.layouts)}" for name, family in FAMILIES.items() if len(family.layouts) > 1]
    return "; ".join(named)


def _defaults(name):
    """What a field is by default in the layouts that say so, for its help text."""
    return describe_layouts(lambda layout: str(layout.defaults.get(name, "")))


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run's result. A field left None takes the recipe's value, or the layout's.

    Raises: UserError: if a value is out of range, or a field decides nothing for the family. TypeError: on an unknown
        field (`from_mapping`: UserError with the nearest known name).

    Example:
    >>> TrainConfig(data="cifar10", depth=28, recipe="quick", epochs=15).learning_rate
    0.3
    """

    data: str = _field(
        "digits",
        "Data",
        TEXT,
        "Data set: digits, cifar10, cifar100, mnist, fashion_mnist, usps, coil20, imagenet2012 or folder:PATH; a table "
        "of images and labels: csv:FILE, parquet:FILE or hf:NAME.",
    )
    columns: str | None = _field(
        None,
        "Data",
        TEXT,
        "Columns of a table: image=NAME,label=NAME,split=NAME; several labels or values as label=NAME+NAME. Default: "
        "those that are named so.",
    )
    task: str = _field(
        "auto",
        "Data",
        Choice(TASKS),
        "What a table says of an image: classes (one of them), labels (any of them, or none) or values (numbers); "
        "auto: by its cells.",
    )
    data_dir: str | None = _field(None, "Data", TEXT, "Folder of tensorflow-datasets. Default: its own.")
    validation: float = _field(
        0, "Data", NOT_NEGATIVE, "Training samples held out for validation: a share below 1, or a number of images."
    )
    augmentation: str | None = _field(
        None,
        "Data",
        TEXT,
        "Augmentation: auto (that of the data set), alternating (the same with small shifts, and flips by turns), "
        "none, flip, cifar, cifar_zeros (cifar with black borders), digits, mnist, fashion or imagenet; with +: mixup, "
        "cutmix, randaugment, autoaugment, erasing, jitter, as in cifar+mixup:0.2+randaugment:2:9.",
    )
    image_size: int | None = _field(
        None, "Data", WHOLE, "Side in pixels to which images are resized. Default: that of the data set."
    )
    channels: int | None = _field(
        None,
        "Data",
        WHOLE,
        "Channels of the images: 3 (colour) or 1 (grey, the luminance). Default: those of the data set; of image files "
        "3.",
    )
    on_broken: str = _field(
        "fail",
        "Data",
        TEXT,
        "Broken image files in a folder, a table or imagenet2012, and rows of a table without file or label: fail, or "
        "skip them.",
    )
    exif_orientation: bool = _field(
        True, "Data", SWITCH, "Turn image files as their EXIF orientation says, in training, evaluation and serving."
    )
    max_pixels: int = _field(
        MAX_PIXELS, "Data", COUNT, "Largest number of pixels of an image file; a larger one counts as broken."
    )
    max_train: int | None = _field(None, "Data", WHOLE, "Largest number of training images. Default: all.")
    max_test: int | None = _field(None, "Data", WHOLE, "Largest number of test images. Default: all.")
    family: str | None = _field(None, "Model", TEXT, f"Model family: {', '.join(FAMILIES)}.")
    depth: int | None = _field(
        None,
        "Model",
        COUNT,
        f"Number of layers. {describe_layouts(lambda layout: layout.depth_rule)}; any number for the others.",
    )
    layout: str | None = _field(
        None, "Model", TEXT, f"Form of the network. {_layouts()}. Default: the first of the family."
    )
    width: float | None = _field(None, "Model", POSITIVE, "Factor on the channels of convolutional networks.")
    units: int | None = _field(
        None, "Model", COUNT, f"Units of each hidden layer of dense networks. Default: {_defaults('units')}."
    )
    parameterization: str | None = _field(
        None,
        "Model",
        TEXT,
        "Kernels: dirac, dirac_unnormalized, dirac_unscaled or plain. "
        f"Default: {_defaults('parameterization')}; dirac for the others.",
    )
    activation: str | None = _field(
        None, "Model", TEXT, f"Between the layers: gelu or relu. Default: {_defaults('activation')}."
    )
    kernel_initializer: str | None = _field(
        None,
        "Model",
        TEXT,
        "Initializer of the kernels, a Keras name, or paper: N(0, 1) for Dirac kernels, he_uniform for plainnet, "
        "he_normal for other kernels.",
    )
    filter_scale: float | None = _field(
        None, "Model", NOT_NEGATIVE, "Initial value of b, the weight of the filters beside the identity."
    )
    scenario: str = _field("proposed", "Model", TEXT, "naive, proposed, or any of bn, lrelu, maxnorm joined by +.")
    skips: bool = _field(True, "Model", SWITCH, "Skip connections; without them it is the plain network.")
    sigma: float | None = _field(
        None,
        "Model",
        NOT_NEGATIVE,
        "Kernels I + W with W from N(0, sigma^2) instead of ordinary ones, or with kernel_initializer=orthogonal a "
        "random orthogonal matrix times sigma. Default: ordinary ones.",
    )
    gate_bias: float | None = _field(
        None, "Model", ANY_NUMBER, "Initial bias of the gates. Default: -1 for dense, -2 for conv."
    )
    skip_constraint: bool = _field(
        True, "Model", SWITCH, "Multipliers that take the skip connections away; without them it is VAN(lambda = 0)."
    )
    recipe: str = _field(
        "quick",
        "Training",
        Choice(tuple(RECIPES)),
        f"Named settings: {', '.join(RECIPES)}. "
        f"Those of the papers: {describe_layouts(lambda layout: layout.recipe or '')}.",
    )
    epochs: int | None = _field(None, "Training", COUNT, "Number of passes over the training images.")
    batch_size: int | None = _field(None, "Training", COUNT, "Images per training step, over all devices.")
    learning_rate: float | None = _field(None, "Training", POSITIVE, "Peak learning rate.")
    learning_rate_scaling: str = _field(
        "none",
        "Training",
        Choice(SCALINGS),
        "none, or linear: learning_rate is for base_batch_size images per step and grows with batch_size.",
    )
    base_batch_size: int | None = _field(
        None, "Training", COUNT, "Batch size for which learning_rate holds. Default: that of the recipe."
    )
    schedule: str | None = _field(
        None, "Training", Choice(SCHEDULES), f"Learning rate schedule: {', '.join(SCHEDULES)}."
    )
    warmup_fraction: float | None = _field(
        None, "Training", SHARE, "Share of the steps in which the rate of one_cycle or cosine rises."
    )
    start_fraction: float | None = _field(
        None, "Training", SHARE, "Where the rate of one_cycle or cosine begins, as a share of its peak."
    )
    end_fraction: float | None = _field(
        None, "Training", SHARE, "Where the rate of one_cycle or cosine ends, as a share of its peak."
    )
    decay_epochs: tuple | None = _field(
        None, "Training", Rising(), "Epochs at which schedule=step lowers the rate, separated by commas."
    )
    decay_factor: float | None = _field(
        None,
        "Training",
        NOT_NEGATIVE,
        "Factor on the learning rate: at each decay epoch with schedule=step, over each epoch with exponential, where "
        "by default the rate falls to a hundredth of its peak.",
    )
    optimizer: str | None = _field(
        None,
        "Training",
        Choice(OPTIMIZERS),
        "sgd, muon (the kernels of all layers but the classifier by Muon, the other weights by SGD), adamw or lion; "
        "the last two have learning rates and decays of their own.",
    )
    betas: tuple | None = _field(
        None,
        "Training",
        Betas(),
        "Decay rates of the moments of adamw or lion. Default: 0.9,0.999 for adamw, 0.9,0.99 for lion.",
    )
    muon_learning_rate: float | None = _field(
        None, "Training", POSITIVE, "Peak step of Muon, a share of a kernel's norm; it follows the schedule."
    )
    muon_momentum: float | None = _field(None, "Training", SHARE, "Momentum of Muon.")
    momentum: float | None = _field(None, "Training", SHARE, "Momentum of SGD.")
    nesterov: bool | None = _field(None, "Training", SWITCH, "Nesterov momentum.")
    momentum_rule: str | None = _field(
        None,
        "Training",
        Choice(MOMENTUM_RULES),
        "Where the learning rate falls: pytorch lowers all of the velocity, keras the part of the gradients to come.",
    )
    weight_decay: float | None = _field(
        None,
        "Training",
        NOT_NEGATIVE,
        "Weight decay, on kernels alone: a coupled L2 penalty with sgd and muon, decoupled with adamw and lion.",
    )
    clip_norm: float | None = _field(
        None,
        "Training",
        POSITIVE,
        "Largest norm of the gradient of all weights together; a larger one is scaled down to it. Default: any.",
    )
    accumulate_steps: int = _field(
        1,
        "Training",
        COUNT,
        "Batches whose mean gradient is one update of the weights; learning rate and schedule count updates.",
    )
    beta_rate: float | None = _field(
        None,
        "Training",
        NOT_NEGATIVE,
        "Factor on the learning rate of the shift beta of BatchNormalization; where it is not 1, beta decays as "
        "kernels do.",
    )
    lookahead_steps: int | None = _field(
        None,
        "Training",
        NOT_NEGATIVE_COUNT,
        "Every so many steps the weights are drawn to their running average, which counts ever more until the end. "
        "0: never.",
    )
    loss: str | None = _field(
        None,
        "Training",
        Choice(LOSSES),
        "crossentropy, or focal: images that are classified well already count less.",
    )
    focal_gamma: float | None = _field(
        None, "Training", NOT_NEGATIVE, "Power of the focal loss, (1 - p)^gamma times the cross-entropy."
    )
    label_smoothing: float | None = _field(
        None, "Training", SHARE, "Share of the target that is spread over all classes."
    )
    class_weights: str | None = _field(
        None,
        "Training",
        Weights(),
        "Weights of the classes in the loss: balanced (all classes count alike), cat=2,dog=0.5, or a JSON file of "
        "them; the others have 1. Default: all have 1.",
    )
    early_stopping: int | None = _field(
        None,
        "Training",
        COUNT,
        "Epochs without a better validation figure after which the training ends. Default: it does not end early.",
    )
    keep_best: bool | None = _field(
        None,
        "Training",
        SWITCH,
        "Keep the weights of the epoch with the best validation figure instead of the last. Default: with "
        "early_stopping yes, else no.",
    )
    monitor: str | None = _field(
        None,
        "Training",
        TEXT,
        "Validation figure of early_stopping and keep_best: accuracy, loss or top5. Default: accuracy where the data "
        "have it, else loss.",
    )
    validation_freq: int = _field(
        1, "Training", COUNT, "Epochs from one validation to the next; after the last one there is always one."
    )
    ema_momentum: float = _field(
        0,
        "Training",
        SHARE,
        "Exponential moving average of the weights, such as 0.9999; validation, test and the saved model then use the "
        "average. 0: no average.",
    )
    test_time_augmentation: str = _field(
        "none",
        "Training",
        Choice(VIEWS),
        "Views of a test image whose outputs are averaged for a second test accuracy: none, flip (itself and its "
        "mirror image), or flip_shift (both, and both shifted by a pixel up-left and down-right).",
    )
    phase_out_fraction: float | None = _field(
        None,
        "Training",
        NOT_NEGATIVE,
        "eta' / eta, step of the multipliers as a share of the learning rate. "
        f"Default: {_defaults('phase_out_fraction')}.",
    )
    phase_out_start: float = _field(0, "Training", NOT_NEGATIVE, "Epoch at which the skip connections begin to fade.")
    phase_out_end: float | None = _field(
        None,
        "Training",
        NOT_NEGATIVE,
        "Epoch at which the skip connections are gone, fading linearly until then; half of the epochs suits deep "
        "networks. Default: as fast as the multipliers make them.",
    )
    identity_decay: float = _field(
        0.0,
        "Training",
        NOT_NEGATIVE,
        "Coupled L2 penalty on the scale a of the identity of Dirac kernels, so that int8 leaves learned taps room.",
    )
    identity_bound: float | None = _field(
        None,
        "Training",
        NOT_NEGATIVE,
        "Largest |a| / |b| of a Dirac filter at the end, so that int8 leaves its learned taps room; a falls to it by "
        "degrees. Default: no bound.",
    )
    identity_bound_start: float = _field(0, "Training", NOT_NEGATIVE, "Epoch at which the bound begins to fall.")
    identity_bound_end: float | None = _field(
        None, "Training", NOT_NEGATIVE, "Epoch at which the bound has fallen. Default: at 60 % of the epochs."
    )
    dissolve_epoch: int | None = _field(
        None,
        "Training",
        WHOLE,
        "Finished epochs after which the identity of Dirac kernels becomes part of their ordinary weights, and a "
        "penalty on the kurtosis spreads it over them, for int8. Default: never.",
    )
    kurtosis_penalty: float = _field(
        KURTOSIS,
        "Training",
        NOT_NEGATIVE,
        "Weight of the penalty on the kurtosis of each filter from dissolve_epoch on.",
    )
    peak_penalty: float = _field(
        0.0,
        "Training",
        NOT_NEGATIVE,
        "Weight of a penalty on the largest weight of each filter over the root mean square, from dissolve_epoch on.",
    )
    identity_phase_out: float | None = _field(
        None,
        "Training",
        NOT_NEGATIVE,
        "The identity of Dirac kernels goes by multipliers of the constraint a = 0, whose step is this share of the "
        "learning rate; for int8. Default: it stays.",
    )
    identity_phase_out_start: float = _field(
        0, "Training", NOT_NEGATIVE, "Epoch at which the multipliers begin to move."
    )
    identity_multiplier: float = _field(
        1.0, "Training", NOT_NEGATIVE, "The multipliers when they begin to move; 1 is the paper's."
    )
    precision: str | None = _field(None, "Training", TEXT, "auto, float32, bfloat16, float16 or float64.")
    seed: int = _field(0, "Training", SEED, "Seed of the initial weights, the order and the augmentation.")
    start: str | None = _field(
        None,
        "Training",
        TEXT,
        "Weights to start from: the folder of a run, or a .keras file, of the same architecture. The layer of the "
        "classes begins anew where they are others. Default: random weights.",
    )
    freeze: str | None = _field(
        None,
        "Training",
        Patterns(),
        "Layers that keep their weights, by name, such as 'conv1*,group1*'; their BatchNormalization uses the "
        "statistics that it has. Default: none.",
    )
    unfreeze_epoch: int | None = _field(
        None, "Training", COUNT, "Finished epochs after which the frozen layers are trained too. Default: never."
    )
    learning_rate_of: str | None = _field(
        None,
        "Training",
        Rates(),
        "Factors on the learning rate of groups of layers, by name, the first that fits: 'head*=1,group*=0.1'. "
        "Default: 1 for all.",
    )
    keep_checkpoints: int = _field(2, "Training", COUNT, "Number of checkpoints to keep.")
    checkpoint_steps: int | None = _field(
        None, "Training", POSITIVE, "Steps between checkpoints; every epoch ends with one as well."
    )
    checkpoint_seconds: float | None = _field(300, "Training", POSITIVE, "Seconds between checkpoints.")
    tracker: str = _field(
        NO_TRACKER,
        "Training",
        TrackerNames(),
        f"Services that get the figures of every epoch beside tb/: none, or {', '.join(NAMES)}, several joined by "
        "commas; each needs the extra of its name.",
    )

    def __new__(cls, *args, **kwargs):
        _refuse_removed(kwargs)
        return super().__new__(cls)

    def __post_init__(self):
        for name in ("recipe", "family"):
            self._check_field(name)
        recipe = RECIPES[self.recipe]
        self._fill({"family": recipe["family"]})
        family = find_family(self.family)
        self._fill({"layout": family.default_layout})
        self._check_field("layout")
        layout = family.layout(self.layout)
        network = {} if self.family == recipe["family"] else OTHER_NETWORKS[self.recipe]
        values = {**recipe, **network, **layout.defaults, "base_batch_size": recipe["batch_size"]}
        values |= defaults_beside(recipe, self.optimizer, self.schedule, self.epochs or values["epochs"])
        self._fill(values | {"keep_best": self.early_stopping is not None})
        self._fill(WITHOUT_EFFECT)
        for option in dataclasses.fields(self):
            self._check_field(option.name)
        self._set("decay_epochs", tuple(self.decay_epochs))
        if self.betas is not None:
            self._set("betas", tuple(self.betas))
        if self.class_weights is not None:
            self._set("class_weights", without_file(self.class_weights))
        if isinstance(self.validation, float) and self.validation >= 1:  # a count, as it comes from an option
            self._set("validation", int(self.validation))
        if self.schedule == "step" and not self.decay_epochs:
            raise UserError(
                f"schedule=step needs decay_epochs, the epochs at which the rate falls; recipe={self.recipe} has none. "
                "Give `decay_epochs=(60, 120)`, or another `schedule`."
            )
        check_combination(self, phases_out=family.phases_out and self.skip_constraint)
        if recipe.get("identity_bound") is not None:
            self._check_for_integers(family)
        self._check_fields_of_family(family, layout)
        if family.phases_out and self.skip_constraint:
            self._check_phase_out()
        for name in ("identity_bound", "dissolve_epoch", "identity_phase_out"):
            if getattr(self, name, None) is not None:
                self._check_lookahead(name)
        if self.unfreeze_epoch is not None:
            self._check_unfreezing(family)
        if self.identity_decay:
            self._require_identity_scale("identity_decay")
        if self.identity_bound is not None:
            self._fill({"identity_bound_end": max(BOUND_FALLEN * self.epochs, self.identity_bound_start)})
            self._check_identity_bound()
        if self.dissolve_epoch is not None:
            self._check_dissolving()
        if self.identity_phase_out is not None:
            self._check_identity_phase_out()

    def _set(self, name, value):
        object.__setattr__(self, name, value)

    def _fill(self, values):
        """Give the fields that are None their values."""
        for name, value in values.items():
            if getattr(self, name) is None:
                self._set(name, value)

    def _check_field(self, name):
        option, value = self.__dataclass_fields__[name], getattr(self, name)
        if value is not None or "None" not in str(option.type):
            option.metadata["check"].check(name, value)

    def _check_fields_of_family(self, family, layout):
        for option in dataclasses.fields(self):
            name, value = option.name, getattr(self, option.name)
            if value in (option.default, WITHOUT_EFFECT.get(name)) or not is_of_some_families(name):
                continue
            if not family.has_field(name):
                raise UserError(
                    f"{name} is a field of family={', '.join(families_with(name))}; it has no effect on {self.family}. "
                    f"Received {name}={value!r}: leave it out."
                )
            if name in SIZES and name != layout.size:
                size = "fixed" if layout.size is None else f"set by {layout.size}"
                raise UserError(
                    f"{name} has no effect on family={self.family} with layout={self.layout}, whose layer sizes are "
                    f"{size}. Received {name}={value!r}: leave it out."
                )

    def _check_for_integers(self, family):
        has_identities = self.parameterization in ("dirac", "dirac_unnormalized")
        if not family.has_field("identity_bound") or not has_identities:
            raise UserError(
                f"recipe={self.recipe} takes the identities out of Dirac kernels, of family="
                f"{', '.join(families_with('identity_bound'))} with parameterization=dirac or dirac_unnormalized. "
                f"Received family={self.family}, parameterization={self.parameterization}: without identity taps "
                "integers are easy, and recipe=quick does."
            )

    def _check_lookahead(self, what):
        if self.lookahead_steps:
            raise UserError(
                f"lookahead_steps must be 0 beside {what}: the average still has what is to go. "
                f"Received lookahead_steps={self.lookahead_steps!r}."
            )

    def _check_unfreezing(self, family):
        if self.freeze is None:
            raise UserError(
                f"unfreeze_epoch needs `freeze`, the layers that are frozen until then. Received "
                f"unfreeze_epoch={self.unfreeze_epoch}."
            )
        if self.unfreeze_epoch >= self.epochs:
            raise UserError(
                "unfreeze_epoch must be below epochs. "
                f"Received unfreeze_epoch={self.unfreeze_epoch} and epochs={self.epochs}."
            )
        # What spans a training: an average, or a constraint that tightens over its epochs.
        spanning = [name for name in ("ema_momentum", "lookahead_steps") if getattr(self, name)]
        timed = ("identity_bound", "dissolve_epoch", "identity_phase_out")
        spanning += [name for name in timed if getattr(self, name) is not None]
        if family.phases_out and self.skip_constraint:
            spanning.append("skip_constraint")
        if spanning:
            raise UserError(
                f"unfreeze_epoch and {spanning[0]} exclude each other: it would begin anew with the layers that are "
                f"unfrozen. Received unfreeze_epoch={self.unfreeze_epoch} and "
                f"{spanning[0]}={getattr(self, spanning[0])!r}."
            )

    def _check_phase_out(self):
        if self.ema_momentum:
            raise UserError(
                f"ema_momentum must be 0 for family={self.family}: an average of skips that fade is never without "
                f"them. Received ema_momentum={self.ema_momentum!r}."
            )
        start, end = self.phase_out_start, self.phase_out_end
        if start >= (self.epochs if end is None else end) or (end is not None and end > self.epochs):
            raise UserError(
                "The phase-out must fit into the training and begin before it ends. "
                f"Received phase_out_start={start}, phase_out_end={end} and epochs={self.epochs}."
            )

    def _require_identity_scale(self, name):
        if self.parameterization not in ("dirac", "dirac_unnormalized"):
            raise UserError(
                f"{name} needs kernels with a scale a of the identity, parameterization=dirac or "
                f"dirac_unnormalized. Received parameterization={self.parameterization}."
            )

    def _check_identity_bound(self):
        self._require_identity_scale("identity_bound")
        if self.ema_momentum:
            raise UserError(
                "ema_momentum must be 0 beside identity_bound: an average of scales that fall is above their bound. "
                f"Received ema_momentum={self.ema_momentum!r}."
            )
        start, end = self.identity_bound_start, self.identity_bound_end
        if start >= self.epochs or not start <= end <= self.epochs:
            raise UserError(
                "The bound must begin to fall before the training ends, and have fallen by then. Received "
                f"identity_bound_start={start}, identity_bound_end={end} and epochs={self.epochs}."
            )

    def _check_dissolving(self):
        if self.parameterization != "dirac":
            raise UserError(
                "dissolve_epoch needs kernels whose W is normalised, parameterization=dirac. "
                f"Received parameterization={self.parameterization}."
            )
        if self.identity_bound is not None:
            raise UserError(
                "dissolve_epoch and identity_bound exclude each other: either a is gone, or it is bounded. "
                f"Received dissolve_epoch={self.dissolve_epoch} and identity_bound={self.identity_bound!r}."
            )
        if self.ema_momentum:
            raise UserError(
                "ema_momentum must be 0 beside dissolve_epoch: the weights before are of other kernels. "
                f"Received ema_momentum={self.ema_momentum!r}."
            )
        if not 0 <= self.dissolve_epoch < self.epochs:
            raise UserError(
                "dissolve_epoch must be 0 or more and below epochs. "
                f"Received dissolve_epoch={self.dissolve_epoch} and epochs={self.epochs}."
            )

    def _check_identity_phase_out(self):
        self._require_identity_scale("identity_phase_out")
        for name in ("identity_bound", "dissolve_epoch"):
            if getattr(self, name) is not None:
                raise UserError(
                    f"identity_phase_out and {name} exclude each other. "
                    f"Received identity_phase_out={self.identity_phase_out} and {name}={getattr(self, name)!r}."
                )
        if self.ema_momentum:
            raise UserError(
                "ema_momentum must be 0 beside identity_phase_out: an average of scales that fall is never 0. "
                f"Received ema_momentum={self.ema_momentum!r}."
            )
        if self.identity_phase_out_start >= self.epochs:
            raise UserError(
                "The phase-out must begin before the training ends. Received "
                f"identity_phase_out_start={self.identity_phase_out_start} and epochs={self.epochs}."
            )

    @classmethod
    def from_mapping(cls, mapping):
        """A config from a mapping of fields. Raises: UserError: on an unknown field, with the nearest known name."""
        known = [option.name for option in dataclasses.fields(cls)]
        _refuse_removed(mapping)
        for name in mapping:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}."
                raise UserError(f"Unknown field {name!r} in the training configuration.{hint}")
        return cls(**mapping)

    @property
    def peak_learning_rate(self):
        """The highest rate of the schedule, `learning_rate` scaled to the images of an update if asked."""
        if self.learning_rate_scaling == "none":
            return self.learning_rate
        return self.learning_rate * self.batch_size * self.accumulate_steps / self.base_batch_size

    def data_arguments(self):
        """What `pipelines.load_splits` takes, as a dict of keyword arguments."""
        names = ("batch_size", "validation", "seed", "augmentation", "image_size", "channels", "data_dir", "on_broken")
        names += ("exif_orientation", "max_pixels", "columns", "task")
        return {"name": self.data} | {name: getattr(self, name) for name in (*names, "max_train", "max_test")}

    def to_dict(self):
        """The fields as JSON-safe values."""
        values = dataclasses.asdict(self)
        values["decay_epochs"] = list(values["decay_epochs"])
        values["betas"] = self.betas and list(self.betas)
        return values


def _refuse_removed(fields):
    for name, new in REMOVED.items():
        if name in fields:
            raise UserError(f"{name} is now {new}. Received {name}={fields[name]!r}: give {new}={fields[name]!r}.")
