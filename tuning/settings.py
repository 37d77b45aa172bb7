"""`Settings`: what decides the results of a search, and so may not change when it is resumed."""

import dataclasses
import json
import math

import keras

from dirac_keras.errors import UserError
from dirac_keras.files.records import parse_record
from dirac_keras.training.checks import LARGEST, SEED, shortened
from tuning.budget import Budget
from tuning.records import SearchRecord
from tuning.space import SearchSpace

MOST_EXECUTIONS = 1000


@dataclasses.dataclass(frozen=True)
class Settings:
    """Attributes:
    space: `SearchSpace`.
    tuner: text, one of `tuning.oracles.TUNERS`.
    max_epochs: int, of a trial; of hyperband, the most of one.
    executions: int, trainings of a trial, with seeds `seed`, `seed + 1`, ...
    seed: int, of the trainings and of the draws.
    budget: `Budget`.
    strategy: text, see `open_strategy`; logical_devices: int or None, devices that the CPU is split into.
    is_endless: whether hyperband goes round again.
    max_gigabytes: number, memory that a network may take, see `training.limits`; None: that of the machine. It may
        change when the search is resumed.
    backend: text, Keras' backend, on another of which the same seed draws other numbers.

    Raises: UserError: if a number is out of its range.
    """

    space: SearchSpace
    tuner: str = "hyperband"
    max_epochs: int = 9
    executions: int = 1
    seed: int = 0
    budget: Budget = dataclasses.field(default_factory=Budget)
    strategy: str = "auto"
    logical_devices: int | None = None
    is_endless: bool = False
    max_gigabytes: float | None = None
    backend: str = dataclasses.field(default_factory=keras.backend.backend)

    def __post_init__(self):
        for name, most in (("max_epochs", LARGEST), ("executions", MOST_EXECUTIONS)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UserError(f"{name} must be a whole number, 1 or more. Received {name}={shortened(value)}.")
            if value > most:
                raise UserError(f"{name} must be {most:,} or less. Received {name}={shortened(value)}.")
        SEED.check("seed", self.seed)
        if self.seed + self.executions > 2**32:
            raise UserError(
                f"seed must be {2**32 - self.executions} or less, for execution k has the seed `seed` + k. Received "
                f"seed={self.seed}."
            )
        if self.max_gigabytes is not None and not 0 < self.max_gigabytes < math.inf:
            raise UserError(f"max_gigabytes must be above 0 and finite. Received max_gigabytes={self.max_gigabytes!r}.")

    def to_dict(self):
        """JSON-safe: what decides the results."""
        values = {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}
        del values["max_gigabytes"]
        return {**values, "space": self.space.to_dict(), "budget": dataclasses.asdict(self.budget)}

    def to_text(self):
        """For the workers."""
        return json.dumps({**self.to_dict(), "max_gigabytes": self.max_gigabytes}, sort_keys=True)

    @classmethod
    def from_text(cls, text, source):
        """The inverse of `to_text`.

        Args:
            text: JSON.
            source: text, where it comes from, which begins an error message.

        Raises: UserError: if it is no search's.
        """
        parse_record(text, SearchRecord, source, "the record of a search", "Are chief and workers of one version?")
        record = json.loads(text)
        space, budget = SearchSpace.from_dict(record["space"]), Budget(**record["budget"])
        settings = cls(**{**record, "space": space, "budget": budget})
        if settings.backend != keras.backend.backend():
            raise UserError(
                f"{source} is a search on Keras' backend {settings.backend}; here it is {keras.backend.backend()}. Set "
                f"KERAS_BACKEND={settings.backend}."
            )
        return settings

    def differences(self, record):
        """What another search's `to_dict` has otherwise, a text each."""
        mine, theirs = _flat(json.loads(self.to_text())), _flat(record)
        theirs.pop("search", None)  # the identifier
        mine.pop("max_gigabytes")
        if theirs.get("backend") is None:  # a search of 0.1.0 or before
            mine.pop("backend")
        return [
            f"{name} was {theirs.get(name, 'not there')!r}, is {mine.get(name, 'not there')!r}"
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        ]


def _flat(record, prefix=""):
    flat = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
