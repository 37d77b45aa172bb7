"""`Dimension`: what one field of a training may be, read from a text such as `10-40` or `dirac,plain`."""

import dataclasses
import math
import re
import typing

from dirac_keras.errors import UserError
from dirac_keras.training.checks import shortened
from dirac_keras.training.config import TrainConfig

# Fields beside those of `TrainConfig`. The share of the training after which a VAN's skips are gone: `phase_out_end` is
# in epochs, which a search such as Hyperband varies.
SHARES = {"phase_out_share": "phase_out_end"}
# What a search does not vary: where and what the data are, how long and from which seed, what is kept.
FIXED_ALWAYS = (
    *("data", "data_dir", "validation", "augmentation", "image_size", "channels", "on_broken", "max_train", "max_test"),
    *("exif_orientation", "max_pixels", "columns", "task", "test_time_augmentation"),
    *("recipe", "epochs", "base_batch_size", "decay_epochs", "seed", "betas", "class_weights"),
    *("early_stopping", "keep_best", "monitor", "validation_freq", "plateau_patience"),
    *("keep_checkpoints", "checkpoint_steps", "checkpoint_seconds", "tracker"),
    *("start", "freeze", "unfreeze_epoch", "learning_rate_of"),
)
LOGARITHMIC = ("learning_rate", "weight_decay", "sigma")
MOST_VALUES = 10_000  # of one field: each is tried as a configuration before the search begins
STEPS = {"width": 0.25, "label_smoothing": 0.05, "dropout": 0.1, "phase_out_share": 0.125}
_NUMBER = r"\d*\.?\d+(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*[-:]\s*({_NUMBER})(?:\s*:\s*({_NUMBER}))?\s*")


@dataclasses.dataclass(frozen=True)
class Dimension:
    """The values of one field: a tuple of them, or a range.

    Attributes:
        name: str, a field of `TrainConfig` or of `SHARES`.
        values: tuple; None for a range.
        low, high: numbers, both ends belong to the range.
        step: number, or None for all numbers between.
        is_logarithmic: bool, whether equal ratios are equally likely.
    """

    name: str
    values: tuple | None = None
    low: float | None = None
    high: float | None = None
    step: float | None = None
    is_logarithmic: bool = False

    @classmethod
    def parse(cls, name, text):
        """`a,b,c`, `low-high` or `low-high:step` (`:` for `-` will do) of a field.

        Raises: ValueError: if the field cannot be searched, the text is none of these, a value is of another type, or
            there are more than `MOST_VALUES`.
        """
        kind = field_type(name)
        text = str(text)
        received = f"Received {name}={shortened(text)}"
        match = _RANGE.fullmatch(text) if kind in (int, float) else None
        if match is None:
            values = dict.fromkeys(_convert(name, kind, part) for part in text.split(",") if part.strip())
            if not values:
                raise UserError(f"{name} must have a value. {received}.")
            _check_number(name, len(values) - 1, "fewer")
            return cls(name, values=tuple(values))
        low, high, step = (None if part is None else _convert(name, kind, part) for part in match.groups())
        if low > high:
            raise UserError(f"{name} must be low-high, the smaller number first. {received}.")
        if step is not None and step <= 0:
            raise UserError(f"{name}'s step must be above 0. {received}.")
        is_logarithmic = name in LOGARITHMIC and step is None
        if is_logarithmic and low == 0:
            raise UserError(
                f"{name} is drawn by its ratio, so its range begins above 0. {received}; "
                "give a list to have 0 among the values."
            )
        if is_logarithmic and not math.isfinite(high / low):
            raise UserError(f"{name} has a range whose ends are too far apart for their ratio. {received}.")
        if name == "batch_size" and step is None:
            powers = tuple(2**k for k in range(high.bit_length()) if 2**k >= low)
            return cls(name, values=powers or (low,))
        if step is None and kind is int:
            step = 1
        step = step or STEPS.get(name)
        if step is not None:
            span = high - low
            count = span // step if isinstance(span, int) and isinstance(step, int) else span / step + 1e-6
            _check_number(name, count, "a larger step: low-high:step")
        return cls(name, None, low, high, step, is_logarithmic)

    @property
    def is_single(self):
        """Whether there is nothing to search."""
        return len(self.values) == 1 if self.values is not None else self.low == self.high

    def listed(self):
        """All values as a tuple; None if there are endlessly many."""
        if self.values is not None:
            return self.values
        if self.low == self.high:
            return (self.low,)
        if self.step is None:
            return None
        count = int((self.high - self.low) / self.step + 1e-6) + 1
        return tuple(canonical(self.low + k * self.step) for k in range(count))

    def declare(self, hyperparameters, prefix=""):
        """Add it to a `keras_tuner.HyperParameters`, under its name behind a prefix."""
        name, values = prefix + self.name, self.listed()
        if values is None:
            sampling = "log" if self.is_logarithmic else "linear"
            hyperparameters.Float(name, float(self.low), float(self.high), sampling=sampling)
        else:
            is_ordered = all(isinstance(value, (int, float)) for value in values)
            hyperparameters.Choice(name, list(values), ordered=is_ordered)

    def to_text(self):
        """What `parse` reads."""
        if self.values is not None:
            return ",".join(map(str, self.values))
        return f"{self.low}-{self.high}" + (f":{self.step}" if self.step is not None else "")


def canonical(value):
    """A number as every process sees it: KerasTuner's messages carry floats in single precision."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def known_fields():
    """Names of all fields of a space, searched or not."""
    return [option.name for option in dataclasses.fields(TrainConfig)] + list(SHARES)


def field_type(name):
    """`int`, `float` or `str` of a field that can be searched. Raises: ValueError: if it is none."""
    if name in SHARES:
        return float
    kinds = {option.name: option.type for option in dataclasses.fields(TrainConfig)}
    if name not in kinds or name in FIXED_ALWAYS:
        searchable = [known for known in (*kinds, *SHARES) if known not in FIXED_ALWAYS]
        raise UserError(f"{name!r} is nothing that can be searched. Known: {', '.join(searchable)}.")
    return next(kind for kind in (*typing.get_args(kinds[name]), kinds[name]) if kind is not type(None))


def _check_number(name, count, way_out):
    """Raise UserError if a field has more than `count` values, and that are too many."""
    if count >= MOST_VALUES:
        many = f"{int(count) + 1:,}" if count < 1e15 else "more than 10^15"
        raise UserError(f"{name} has {many} values; at most {MOST_VALUES:,} can be searched. Give {way_out}.")


def _convert(name, kind, text):
    text = text.strip()
    if kind is bool and text.lower() in ("true", "false", "yes", "no"):
        return text.lower() in ("true", "yes")
    try:
        if kind is float:
            number = float(text)
            if math.isfinite(number):
                return canonical(number)
        elif kind is int:
            return int(text)
        elif kind is str:
            return text
    except ValueError:
        pass
    words = {int: "whole numbers", float: "numbers", bool: "true, false", str: "words"}
    raise UserError(
        f"{name} must be {words[kind]}: one, a list a,b,c, or of numbers a range low-high or low-high:step. "
        f"Received {shortened(text)}."
    )
