"""What a training run is: one frozen record, from flags, a file or Python."""

import dataclasses
import difflib
import json
import math
import pathlib
import typing
from dataclasses import dataclass, field, fields

from dirac_keras.errors import UserError
from dirac_keras.phase_out import FRACTIONS
from dirac_keras.training.recipes import RECIPES

# Fields that decide something for these families alone; elsewhere a value other than the default is a mistake.
FAMILIES_OF_FIELD = {
    "width": ("diracnet", "van", "resnet", "wide_resnet", "highway", "vgg"),
    "parameterization": ("diracnet",),
    "kind": ("plainnet", "van", "highway"),
    "scenario": ("plainnet",),
    "variant": ("diracnet", "resnet"),
    "skips": ("resnet", "wide_resnet", "highway"),
    "sigma": ("resnet", "wide_resnet"),
    "gate_bias": ("highway",),
    "skip_constraint": ("van",),
    "phase_out_fraction": ("van",),
    "phase_out_start": ("van",),
    "phase_out_end": ("van",),
}
FAMILY_NAMES = {name for families in FAMILIES_OF_FIELD.values() for name in families}
SCHEDULES = ("one_cycle", "step", "constant")
SCALINGS = ("none", "linear")
# What a run's `config.json` holds beside the fields.
PROVENANCE = ("versions", "commit", "data_spec", "started", "machine", "precision_used")


def _option(default, text):
    return field(default=default, metadata={"help": text})


# How a help text groups the fields, each under the group whose first field precedes it.
GROUPS = {"data": "Data", "family": "Model", "recipe": "Training"}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run's result. A field left None takes the recipe's value.

    Raises: ValueError: if a value is out of range, TypeError: on an unknown field (`from_mapping`: ValueError with
        the nearest known name).

    Example:
    >>> TrainConfig(data="cifar10", depth=28, recipe="quick", epochs=15).learning_rate
    0.3
    """

    data: str = _option(
        "digits",
        "Data set: digits, cifar10, cifar100, mnist, fashion_mnist, usps, coil20, imagenet2012 or folder:PATH.",
    )
    data_dir: str | None = _option(None, "Folder of tensorflow-datasets. Default: its own.")
    validation: float = _option(0, "Part of train set aside: a share below 1, or a number of images.")
    augmentation: str = _option(
        "auto", "Augmentation: auto (the data set's own), none, flip, cifar, digits, mnist, fashion or imagenet."
    )
    image_size: int | None = _option(None, "Side in pixels that images are resized to. Default: the data set's.")
    on_broken: str = _option("fail", "Broken image files of a folder or of imagenet2012: fail or skip.")
    max_train: int | None = _option(None, "Use at most so many training images.")
    max_test: int | None = _option(None, "Use at most so many test images.")
    family: str = _option("diracnet", "Model family: diracnet, plainnet, van, resnet, wide_resnet, highway or vgg.")
    depth: int = _option(
        28, "Layers; 6N+4 for CIFAR-sized DiracNets and wide_resnet, 6N+2 for resnet, 8N+2 for van conv, 50 for conv50."
    )
    width: float = _option(1.0, "Factor on the channels.")
    parameterization: str = _option("dirac", "dirac, dirac_unnormalized, dirac_unscaled or plain.")
    kernel_initializer: str | None = _option(
        None,
        "Start of the kernels, a Keras initializer's name, or paper: N(0, 1), for a plainnet he_uniform, for other "
        "ordinary kernels he_normal.",
    )
    filter_scale: float | None = _option(None, "Start of b, the filters' weight beside the identity.")
    kind: str = _option("dense", "Of a plainnet: dense, or conv50; of a van, highway: dense, or conv.")
    units: int | None = _option(
        None, "Of each hidden layer of a dense network. Default: 300 of a plainnet, 50 of the others."
    )
    scenario: str = _option("proposed", "Of a plainnet: naive, proposed, or some of bn, lrelu, maxnorm joined by +.")
    variant: str = _option("cifar", "Stem and groups: cifar, imagenet or dense; of a resnet van too.")
    skips: bool = _option(True, "Of a resnet, wide_resnet, highway: without, it is the plain network.")
    sigma: float | None = _option(
        None, "Of a resnet, wide_resnet: kernels I + W with W from N(0, sigma^2), instead of ordinary ones."
    )
    gate_bias: float | None = _option(None, "Of a highway: start of the gates' bias. Default: -1 dense, -2 conv.")
    skip_constraint: bool = _option(True, "Of a van: whether multipliers take the skips away; no is VAN(lambda = 0).")
    recipe: str = _option("quick", f"Named settings: {', '.join(RECIPES)}.")
    epochs: int | None = _option(None, "Passes over the training images.")
    batch_size: int | None = _option(None, "Images a step, over all devices.")
    learning_rate: float | None = _option(None, "Peak learning rate.")
    learning_rate_scaling: str = _option(
        "none",
        "none, or linear: learning_rate is that of base_batch_size images a step and grows with batch_size.",
    )
    base_batch_size: int | None = _option(None, "Of learning_rate_scaling. Default: the recipe's batch_size.")
    schedule: str | None = _option(None, f"Learning rate over time: {', '.join(SCHEDULES)}.")
    warmup_fraction: float = _option(0.25, "Share of the steps in which one_cycle rises.")
    decay_epochs: tuple | None = _option(None, "Epochs at which schedule=step lowers the rate, comma separated.")
    decay_factor: float | None = _option(None, "Factor on the rate at each of them.")
    momentum: float = _option(0.9, "Of SGD.")
    nesterov: bool | None = _option(None, "Nesterov's momentum.")
    weight_decay: float | None = _option(None, "Coupled L2 on kernels alone.")
    label_smoothing: float | None = _option(None, "Share of the target spread over all classes.")
    ema_momentum: float = _option(
        0,
        "Average the weights over the steps: share of the average kept a step, such as 0.9999. Validation, test and "
        "the saved model are then the average's; 0 is no average.",
    )
    phase_out_fraction: float | None = _option(
        None, "Of a van: eta' / eta, the step of the multipliers. Default: 0.5 for dense, 0.1 for conv."
    )
    phase_out_start: float = _option(0, "Of a van: epochs before the skips begin to fade.")
    phase_out_end: float | None = _option(
        None,
        "Of a van: epoch until which they fade evenly; half of --epochs suits deep ones. Default: as fast as the "
        "multipliers make them.",
    )
    precision: str | None = _option(None, "auto, float32, bfloat16, float16 or float64.")
    seed: int = _option(0, "Of the start, the order and the augmentation.")
    keep_checkpoints: int = _option(2, "Number of checkpoints kept.")
    checkpoint_steps: int | None = _option(None, "Steps from one checkpoint to the next; an epoch's end has one too.")
    checkpoint_seconds: float | None = _option(300, "Seconds from one checkpoint to the next.")

    def __post_init__(self):
        self._check_types()
        if self.recipe not in RECIPES:
            raise UserError(f"recipe must be one of {', '.join(RECIPES)}. Received recipe={self.recipe!r}.")
        for name, value in RECIPES[self.recipe].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        object.__setattr__(self, "decay_epochs", tuple(self.decay_epochs))
        if self.base_batch_size is None:
            object.__setattr__(self, "base_batch_size", RECIPES[self.recipe]["batch_size"])
        if self.units is None:
            object.__setattr__(self, "units", 50 if self._is_dense_with_50_units() else 300)
        if self.phase_out_fraction is None and self.family == "van":
            object.__setattr__(self, "phase_out_fraction", FRACTIONS["dense" if self.kind == "dense" else "conv"])
        self._check()
        if isinstance(self.validation, float) and self.validation >= 1:  # a count, as it comes from a flag
            object.__setattr__(self, "validation", int(self.validation))

    def _is_dense_with_50_units(self):
        """Elsewhere `units` is 300, of effect or not: it was the field's default, and old runs have it."""
        layout = {"diracnet": self.variant, "resnet": self.variant, "highway": self.kind, "van": self.kind}
        return layout.get(self.family) == "dense"

    def _check_types(self):
        """Words, switches and lists are what they should be; numbers are checked with their ranges."""
        words = {str: "a text", bool: "true or false", int: "a whole number", tuple: "a list of numbers"}
        for option in fields(self):
            kinds = typing.get_args(option.type) or (option.type,)
            value, kind = getattr(self, option.name), kinds[0]
            if kind is float or (kind is int and len(kinds) == 1):
                continue
            is_fine = isinstance(value, (*kinds, list) if kind is tuple else kinds)
            if kind is tuple and is_fine and value is not None:
                is_fine = all(isinstance(part, (int, float)) and not isinstance(part, bool) for part in value)
            if kind is int and isinstance(value, bool):
                is_fine = False
            if not is_fine:
                raise UserError(f"{option.name} must be {words[kind]}. Received {option.name}={value!r}.")

    def _check(self):
        def check(names, test, rule):
            for name in names:
                value = getattr(self, name)
                is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
                if not (is_number and math.isfinite(value) and test(value)):
                    raise UserError(f"{name} must be {rule}. Received {name}={value!r}.")

        positive = ("epochs", "batch_size", "base_batch_size", "depth", "width", "learning_rate", "keep_checkpoints")
        check(positive, lambda value: value > 0, "above 0")
        whole = ("epochs", "batch_size", "base_batch_size", "depth", "keep_checkpoints", "seed")
        check(whole, lambda value: isinstance(value, int), "a whole number")
        check(
            ("weight_decay", "validation", "seed", "decay_factor", "filter_scale"),
            lambda value: value >= 0,
            "0 or more",
        )
        check(("seed",), lambda value: value < 2**32, "below 2**32")  # what NumPy's generator takes
        check(
            ("label_smoothing", "momentum", "warmup_fraction", "ema_momentum"),
            lambda value: 0 <= value < 1,
            "in [0, 1)",
        )
        if self.warmup_fraction == 0:
            raise UserError("warmup_fraction must be above 0. Received warmup_fraction=0.")
        if self.schedule not in SCHEDULES:
            raise UserError(f"schedule must be one of {', '.join(SCHEDULES)}. Received {self.schedule!r}.")
        if self.learning_rate_scaling not in SCALINGS:
            raise UserError(
                f"learning_rate_scaling must be one of {', '.join(SCALINGS)}. Received {self.learning_rate_scaling!r}."
            )
        rising = list(self.decay_epochs) == sorted(set(self.decay_epochs))
        if not (rising and all(math.isfinite(epoch) and epoch > 0 for epoch in self.decay_epochs)):
            raise UserError(f"decay_epochs must be above 0 and rise. Received decay_epochs={self.decay_epochs}.")
        self._check_fields_of_family()
        given = [name for name in ("checkpoint_steps", "checkpoint_seconds") if getattr(self, name) is not None]
        check(given, lambda value: value > 0, "above 0")
        given = [name for name in ("phase_out_fraction", "phase_out_end") if getattr(self, name) is not None]
        check((*given, "phase_out_start"), lambda value: value >= 0, "0 or more")
        if self.family == "van" and self.skip_constraint and self.ema_momentum:
            raise UserError(
                "ema_momentum must be 0 for family=van: an average of skips that fade is never without them. "
                f"Received ema_momentum={self.ema_momentum!r}."
            )
        if self.family == "van" and self.skip_constraint:
            self._check_phase_out()

    def _check_fields_of_family(self):
        defaults = {option.name: option.default for option in fields(self)}
        for name, families in FAMILIES_OF_FIELD.items():
            value = getattr(self, name)
            if self.family in FAMILY_NAMES - set(families) and value != defaults[name]:  # `build_model` knows the names
                raise UserError(
                    f"{name} is a field of family={', '.join(families)}; it has no effect on {self.family}. "
                    f"Received {name}={value!r}: leave it out."
                )

    def _check_phase_out(self):
        start, end = self.phase_out_start, self.phase_out_end
        if start >= (self.epochs if end is None else end) or (end is not None and end > self.epochs):
            raise UserError(
                "The phase-out must fit into the training and begin before it ends. "
                f"Received phase_out_start={start}, phase_out_end={end} and epochs={self.epochs}."
            )

    @classmethod
    def from_mapping(cls, mapping):
        """A config from a mapping of fields. Raises: ValueError: on an unknown field, with the nearest known name."""
        known = [f.name for f in fields(cls)]
        for name in mapping:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}."
                raise UserError(f"Unknown field {name!r} in the training configuration.{hint}")
        return cls(**mapping)

    @property
    def peak_learning_rate(self):
        """The highest rate of the schedule, `learning_rate` scaled to `batch_size` if asked."""
        if self.learning_rate_scaling == "none":
            return self.learning_rate
        return self.learning_rate * self.batch_size / self.base_batch_size

    def data_arguments(self):
        """What `pipelines.load_splits` takes, as a dict of keyword arguments."""
        names = ("batch_size", "validation", "seed", "augmentation", "image_size", "data_dir", "on_broken")
        return {"name": self.data} | {name: getattr(self, name) for name in (*names, "max_train", "max_test")}

    def to_dict(self):
        """The fields as JSON-safe values."""
        values = dataclasses.asdict(self)
        values["decay_epochs"] = list(values["decay_epochs"])
        return values


def read_config_file(path):
    """The fields in a `.json` or `.toml` file (a run's `config.json` too) as a dict.

    Raises: ValueError: if the file is absent, of another kind, or damaged.
    """
    path = pathlib.Path(path)
    if path.suffix not in (".json", ".toml"):
        raise UserError(f"A configuration file ends in .json or .toml. Received {path}.")
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else _toml().loads(text)
    except OSError as error:
        raise UserError(f"Configuration file {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise UserError(f"Configuration file {path} is no valid {path.suffix[1:].upper()}: {error}.") from None
    if not isinstance(values, dict):
        raise UserError(f"Configuration file {path} must hold a table of fields. Received a {type(values).__name__}.")
    if "versions" in values and "commit" in values:  # a run's record: the provenance is not a setting
        values = {name: value for name, value in values.items() if name not in PROVENANCE}
    return values


def _toml():
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    return tomllib
