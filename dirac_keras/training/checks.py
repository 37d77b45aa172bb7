"""Which values a field of a configuration may have, as small objects that say it in words."""

import dataclasses
import math

from dirac_keras.errors import UserError, did_you_mean

LARGEST = 10**12  # of a count of images, steps, layers or pixels: beyond it stands a mistake
_SHOWN = 60
WORDS = {str: "a text", bool: "true or false", int: "a whole number", tuple: "a list of numbers"}


def is_number(value):
    """Whether a value is a number, which True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shortened(value):
    """A value for a message; of a long one the beginning."""
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def _is_finite(value):
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond every float
        return False


@dataclasses.dataclass(frozen=True)
class Number:
    """A finite number.

    Attributes:
        least: number that the value may not be below; above, below: numbers that it may not reach. None: no bound.
        whole: bool, whether it must be an int.
        rule: text of the bounds, behind "must be".
    """

    least: float | None = None
    above: float | None = None
    below: float | None = None
    whole: bool = False
    rule: str = "a finite number"

    def check(self, name, value):
        """Raise UserError unless `value` fits."""
        if self.whole and value is not None and not (isinstance(value, int) and is_number(value)):
            raise UserError(f"{name} must be a whole number. Received {name}={shortened(value)}.")
        if self.whole and value is not None and value > LARGEST:
            raise UserError(f"{name} must be {LARGEST:,} or less. Received {name}={shortened(value)}.")
        if is_number(value) and not _is_finite(value) and self._is_within(math.inf) and self is not ANY_NUMBER:
            raise UserError(f"{name} must be finite and {self.rule}. Received {name}={shortened(value)}.")
        if not (is_number(value) and _is_finite(value) and self._is_within(value)):
            raise UserError(f"{name} must be {self.rule}. Received {name}={shortened(value)}.")

    def _is_within(self, value):
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


POSITIVE = Number(above=0, rule="above 0")
COUNT = Number(above=0, whole=True, rule="above 0")
NOT_NEGATIVE = Number(least=0, rule="0 or more")
NOT_NEGATIVE_COUNT = Number(least=0, whole=True, rule="0 or more")
SHARE = Number(least=0, below=1, rule="in [0, 1)")
SEED = Number(least=0, below=2**32, whole=True, rule="0 or more and below 2**32")  # what NumPy's generator takes
ANY_NUMBER = Number()
WHOLE = Number(whole=True, rule="a whole number")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A value of a type: a text, true or false."""

    kind: type

    def check(self, name, value):
        """Raise UserError unless `value` fits."""
        if not isinstance(value, self.kind):
            raise UserError(f"{name} must be {WORDS[self.kind]}. Received {name}={shortened(value)}.")


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some texts."""

    choices: tuple

    def check(self, name, value):
        """Raise UserError unless `value` fits."""
        Kind(str).check(name, value)
        if value not in self.choices:
            message = f"{name} must be one of {', '.join(self.choices)}. Received {name}={shortened(value)}."
            raise UserError(f"{message} {did_you_mean(value, self.choices)}".rstrip())


@dataclasses.dataclass(frozen=True)
class Rising:
    """Numbers above 0, each larger than the one before."""

    def check(self, name, value):
        """Raise UserError unless `value` fits."""
        if not (isinstance(value, (list, tuple)) and all(map(is_number, value))):
            raise UserError(f"{name} must be {WORDS[tuple]}. Received {name}={shortened(value)}.")
        if list(value) != sorted({*value}) or not all(_is_finite(number) and number > 0 for number in value):
            raise UserError(f"{name} must be above 0 and rise. Received {name}={shortened(value)}.")


@dataclasses.dataclass(frozen=True)
class Betas:
    """Two numbers above 0 and below 1."""

    def check(self, name, value):
        """Raise UserError unless `value` fits."""
        is_pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(is_number, value))
        if not is_pair or not all(0 < number < 1 for number in value):
            raise UserError(
                f"{name} must be two numbers above 0 and below 1, such as 0.9,0.99. Received {name}={shortened(value)}."
            )


TEXT, SWITCH = Kind(str), Kind(bool)
