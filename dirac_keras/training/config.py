"""What a training run is: one frozen record, from options, a file or Python."""

import dataclasses
import difflib

from dirac_keras.errors import UserError
from dirac_keras.models.family import find_family, is_of_file
from dirac_keras.training.fields.combinations import check_combination
from dirac_keras.training.fields.data import DataFields
from dirac_keras.training.fields.families import (
    NOT_OF_FILE,
    WITHOUT_EFFECT,
    check_fields_of_family,
    check_fields_of_file,
)
from dirac_keras.training.fields.identities import check_for_integers, check_identities
from dirac_keras.training.fields.judging import JudgingFields
from dirac_keras.training.fields.network import NetworkFields
from dirac_keras.training.fields.optimization import OptimizationFields
from dirac_keras.training.fields.removal import RemovalFields
from dirac_keras.training.fields.running import RunningFields
from dirac_keras.training.fields.timing import check_phase_out, check_unfreezing
from dirac_keras.training.optimization.class_weights import without_file
from dirac_keras.training.recipes import OTHER_NETWORKS, RECIPES, defaults_beside

BOUND_FALLEN = 0.6  # of the epochs: what is left of them makes good what went (docs/diracnets.md)
REMOVED = {"kind": "layout", "variant": "layout"}  # former field -> the one that took its place


# The fields of the last base come first.
@dataclasses.dataclass(frozen=True)
class TrainConfig(RunningFields, RemovalFields, JudgingFields, OptimizationFields, NetworkFields, DataFields):
    """Everything that decides a run's result. A field left None takes the recipe's value, or the layout's.

    Raises: UserError: if a value is out of range, or a field decides nothing for the family. TypeError: on an unknown
        field (`from_mapping`: UserError with the nearest known name).

    Example:
    >>> TrainConfig(data="cifar10", depth=28, recipe="quick", epochs=15).learning_rate
    0.3
    """

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
        if is_of_file(self):
            check_fields_of_file(self)
            network = network | NOT_OF_FILE
        values = {**recipe, **network, **layout.defaults, "base_batch_size": recipe["batch_size"]}
        values |= defaults_beside(recipe, self.optimizer, self.schedule, self.epochs or values["epochs"])
        self._fill(values | {"keep_best": self.early_stopping is not None})
        if not is_of_file(self):
            self._fill(WITHOUT_EFFECT)
        for option in dataclasses.fields(self):
            self._check_field(option.name)
        self._set("decay_epochs", tuple(self.decay_epochs))
        if self.betas is not None:
            self._set("betas", tuple(self.betas))
        if self.class_weights is not None:
            self._set("class_weights", without_file(self.class_weights))
        if isinstance(self.validation, float) and self.validation >= 1:  # a count, as it comes from an option
            if self.validation % 1:
                raise UserError(
                    "validation must be a share below 1, or a whole number of images. Received "
                    f"validation={self.validation!r}."
                )
            self._set("validation", int(self.validation))
        if self.schedule == "step" and not self.decay_epochs:
            raise UserError(
                f"schedule=step needs decay_epochs, the epochs at which the rate falls; recipe={self.recipe} has none. "
                "Give `decay_epochs=(60, 120)`, or another `schedule`."
            )
        if self.schedule == "step" and self.decay_factor == 1:
            raise UserError(
                "schedule=step with decay_factor=1 is schedule=constant: the rate never falls. Give a `decay_factor` "
                "such as 0.1."
            )
        phases_out = family.phases_out and self.skip_constraint
        check_combination(self, phases_out)
        if recipe.get("identity_bound") is not None:
            check_for_integers(self, family)
        check_fields_of_family(self, family, layout)
        if phases_out:
            check_phase_out(self)
        if self.unfreeze_epoch is not None:
            check_unfreezing(self, phases_out)
        if self.identity_bound is not None:
            self._fill({"identity_bound_end": max(BOUND_FALLEN * self.epochs, self.identity_bound_start)})
        check_identities(self)

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
