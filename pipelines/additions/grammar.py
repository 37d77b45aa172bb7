"""The words of an augmentation: `cifar+mixup:0.2+randaugment:2:9`, a base and what is added to it."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable

from pipelines.examples import DataError

POLICIES = ("cifar10", "imagenet")


@dataclasses.dataclass(frozen=True)
class Value:
    """A value of an addition.

    Args:
        name: what it is called in an error message.
        rule: what it must be, in words.
        read: text -> the value. Raises: ValueError: if it is none.
    """

    name: str
    rule: str
    read: Callable


@dataclasses.dataclass(frozen=True)
class Addition:
    """What can be added to a base.

    Args:
        values: of which the first ones can be given, behind colons.
        defaults: of those that are not.
    """

    values: tuple[Value, ...]
    defaults: tuple


def _number(name: str, low: float, high: float, above: bool = False) -> Value:
    def read(text):
        value = float(text)
        if not (math.isfinite(value) and low <= value <= high) or (above and value == low):
            raise ValueError
        return value

    rule = f"above {low:g} and at most {high:g}" if above else f"{low:g} to {high:g}"
    return Value(name, rule, read)


def _count(name: str, low: int, high: int) -> Value:
    def read(text):
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return Value(name, f"a whole number, {low} to {high}", read)


def _word(name: str, choices: tuple[str, ...]) -> Value:
    def read(text):
        if text not in choices:
            raise ValueError
        return text

    return Value(name, " or ".join(choices), read)


BY_BASE = "that of its base"  # imagenet for crops of random sizes, else cifar10
ALPHA = _number("alpha of its Beta distribution", 0, 100, above=True)
SHARE = _number("probability", 0, 1, above=True)
SHIFTS = tuple(_number(name, 0, 1) for name in ("brightness", "contrast", "saturation"))
ADDITIONS = {
    "mixup": Addition((ALPHA,), (0.2,)),  # arXiv:1710.09412, section 3.1: 0.1 to 0.4 on ImageNet, 1 on CIFAR-10
    "cutmix": Addition((ALPHA,), (1.0,)),  # arXiv:1905.04899, section 3.1
    # arXiv:1909.13719, section 4.3: N = 2, M = 9 for a ResNet-50 on ImageNet.
    "randaugment": Addition((_count("number of operations", 1, 10), _number("magnitude", 0, 30)), (2, 9.0)),
    "autoaugment": Addition((_word("policy", POLICIES),), (BY_BASE,)),
    "erasing": Addition((SHARE,), (0.25,)),
    "jitter": Addition((*SHIFTS, _number("hue", 0, 0.5)), (0.4, 0.4, 0.4, 0.0)),
    "vflip": Addition((SHARE,), (0.5,)),
    # arXiv:2002.05709, appendix A: images without colours with 0.2, blurred ones with 0.5.
    "grey": Addition((SHARE,), (0.2,)),
    "blur": Addition((SHARE,), (0.5,)),
}
EXCLUSIVE = ("randaugment", "autoaugment")  # two lists of the same operations


def read_augmentation(text: str, bases: tuple[str, ...]) -> tuple[str, dict[str, tuple]]:
    """The base of an augmentation, "auto" where none is named, and what is added: name -> its values.

    Args:
        text: names joined by "+", an addition's values behind colons.
        bases: what can be a base.
    Raises: DataError: if a name or a value is none, or two names exclude each other.
    """
    if not isinstance(text, str):
        raise DataError(f"augmentation must be a text such as 'cifar+mixup'. Received augmentation={text!r}.")
    found, additions = [], {}
    for part in text.split("+"):
        name, *values = part.split(":")
        if name in bases and not values:
            found.append(name)
        elif name in ADDITIONS:
            if name in additions:
                raise DataError(f"augmentation names {name} twice. Received augmentation={text!r}: leave one out.")
            additions[name] = _read_values(name, values, text)
        else:
            raise DataError(_unknown(name, values, bases, text))
    if len(found) > 1:
        raise DataError(
            f"augmentation must have one of {', '.join(bases)} at most. Received augmentation={text!r}, which has "
            f"{' and '.join(found)}: leave one out."
        )
    if set(EXCLUSIVE) <= set(additions):
        raise DataError(
            f"augmentation must have one of {' and '.join(EXCLUSIVE)}, which are the same operations, chosen in two "
            f"ways. Received augmentation={text!r}: leave one out."
        )
    return (found or ["auto"])[0], additions


def _read_values(name, texts, whole):
    addition = ADDITIONS[name]
    if len(texts) > len(addition.values):
        most = ":".join([name, *(value.name.split()[0] for value in addition.values)])
        raise DataError(f"augmentation: {name} takes {most} at most. Received augmentation={whole!r}.")
    values = list(addition.defaults)
    if name == "jitter" and len(texts) == 1:  # one number is for the first three, as elsewhere
        texts = texts * 3
    for k, (value, text) in enumerate(zip(addition.values, texts, strict=False)):
        try:
            values[k] = value.read(text)
        except ValueError:
            raise DataError(
                f"augmentation: the {value.name} of {name} must be {value.rule}. Received {text!r} in "
                f"augmentation={whole!r}; leave it out for {addition.defaults[k]}."
            ) from None
    return tuple(values)


def _unknown(name, values, bases, text):
    known = (*bases, *ADDITIONS)
    if name in bases:
        return f"augmentation: {name} takes no values. Received augmentation={text!r}: give {name}."
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"augmentation must be one of {', '.join(map(repr, bases))}, to which {', '.join(ADDITIONS)} can be added, as "
        f"in cifar+mixup:0.2. Received augmentation={text!r}, in which {name!r} is none of them.{hint}"
    )
