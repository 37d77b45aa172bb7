"""`SearchSpace`: which trainings a search may try, and the `TrainConfig` of each."""

import dataclasses
import difflib
import math

import keras_tuner

from dirac_keras.errors import UserError, check_choice
from dirac_keras.models.family import OF_FILE, SIZES, families_with, find_family, is_of_some_families
from dirac_keras.precision import resolve_precision
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.effects import EFFECTS
from dirac_keras.training.recipes import RECIPES, defaults_beside
from tuning.dimensions import FIXED_ALWAYS, SHARES, STEPS, Dimension, canonical, known_fields

# What is searched unless the user says otherwise, beside the ranges of the family's layout.
COMMON = ("learning_rate", "weight_decay")
SMALL_IMAGES = ("digits", "usps", "mnist", "fashion_mnist", "coil20")
FROM_THE_SEARCH = ("epochs", "seed")  # `max_epochs` and `seed` of `search`: what is given here would have no effect
# A search compares trainings of one length at their ends.
NOT_HERE = ("early_stopping", "keep_best", "monitor", "validation_freq", "plateau_patience")
LARGEST_ON_SMALL_IMAGES = {"depth": 22, "width": 1.0}
STEP_SHARES = (0.3, 0.6, 0.8)  # epochs 60, 120, 160 of the paper's 200
DECAY_FACTORS = ("0.1", "0.2")


class SearchSpace:
    """Hyperparameters of one or more families.

    Args:
        given: dict, field of `TrainConfig` (or `phase_out_share`) -> text: one value, which is then fixed; a list
            `a,b,c` or a range `low-high[:step]`, which is searched. Values of other types are fixed. `family` may be
            a list: each family then has its own dimensions, active when it is drawn.
        search: names of fields to search with their default ranges beside those in `given`. None: depth, the size of
            a layer, learning rate, weight decay, and a VAN's timetable, as far as they are not given.

    Attributes:
        fixed: dict, field -> value.
        dimensions: dict, family -> tuple of `Dimension`.
        shared: tuple of `Dimension`, of all families.

    Raises: ValueError: if nothing is left to search, a depth range holds no depth of its family, a value is wrong or
        nothing that can be searched.

    Example:
    >>> space = SearchSpace({"data": "cifar10", "depth": "10-40", "width": "0.5-2", "learning_rate": "0.1-0.4"})
    >>> space.config({"depth": 16, "width": 1.0, "learning_rate": 0.3, "weight_decay": 5e-4}, epochs=9, seed=0)
    """

    def __init__(self, given, search=None):
        self.fixed, asked = {}, {}
        for name in FROM_THE_SEARCH:
            if name in given:
                raise UserError(f"{name} is an argument of the search, not of its space. Received it in the space.")
        for name in NOT_HERE:
            if given.get(name):
                raise UserError(
                    f"{name} is not of a search, which compares trainings of one length at their ends. Received "
                    f"{name}={given[name]!r}: leave it out, and train the best with it."
                )
        if "plateau" in str(given.get("schedule", "")):
            raise UserError(
                "schedule=plateau is not of a search, whose trainings of few epochs would hardly come to a fall. "
                f"Received schedule={given['schedule']!r}: give another, and train the best with it."
            )
        for name, value in given.items():
            if name not in known_fields():
                near = difflib.get_close_matches(name, known_fields(), n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known_fields())}."
                raise UserError(f"Unknown field {name!r} in the search space. {hint}")
            dimension = Dimension.parse(name, value) if _is_searched(name, value) else None
            if dimension is None:
                self.fixed[name] = value
            elif dimension.is_single:
                self.fixed[name] = dimension.listed()[0]
            else:
                asked[name] = dimension
        families = asked.pop("family", None)
        self.families = families.values if families else (self.fixed.pop("family", RECIPES[self._recipe()]["family"]),)
        self._check_families()
        self._check_wanted(search, asked)
        self._check_that_each_has_a_family([*self.fixed, *asked])
        wanted = tuple(search or ())
        self.dimensions = {family: self._of_family(family, asked, wanted, search is None) for family in self.families}
        for name in {*SIZES} & {*asked}:
            if not any(name == dimension.name for dimensions in self.dimensions.values() for dimension in dimensions):
                raise UserError(f"{name} has no effect on {', '.join(self.families)} in this layout. Leave it out.")
        self.shared = self._common(asked, wanted, search is None)
        self._check()

    def _check_families(self):
        for family in self.families:
            find_family(family)

    def _check_wanted(self, wanted, asked):
        if wanted is not None and not [name for name in wanted if name]:
            raise UserError(
                "search must name a field. Received none: leave it out for the fields that are searched then."
            )
        for name in wanted or ():
            if name in self.fixed:
                raise UserError(
                    f"{name} has one value, {self.fixed[name]!r}, and is in search too. Give a list or a range, or "
                    "leave one of them out."
                )
        if "phase_out_share" in {*self.fixed, *asked} and "phase_out_end" in {*self.fixed, *asked}:
            raise UserError(
                "phase_out_share and phase_out_end both say when the skips are gone. Leave one of them out."
            )

    def _check_that_each_has_a_family(self, names):
        for name in names:
            if not any(has_effect(name, family) for family in self.families):
                owners, mine = ", ".join(families_with(SHARES.get(name, name))), ", ".join(self.families)
                raise UserError(f"{name} is a field of family={owners}; it has no effect on {mine}. Leave it out.")

    def _of_family(self, family, asked, wanted, by_default):
        """The dimensions that this family alone has: depth, size, and the fields that its record gives it."""
        layout = self._layout(family)
        ranges = layout.search
        given = {*self.fixed, *asked}
        names = [n for n in ranges if (by_default or n in wanted) and not {n, SHARES.get(n, n)} & given]
        found = [Dimension.parse(name, ranges[name]) for name in names]
        if self.fixed.get("data", _default("data")) in SMALL_IMAGES:
            found = [_at_most(dimension, LARGEST_ON_SMALL_IMAGES.get(dimension.name)) for dimension in found]
        without_effect = {*SIZES} - {layout.size}
        found += [
            dimension
            for name, dimension in asked.items()
            if _is_of_one_family(name) and has_effect(name, family) and name not in without_effect
        ]
        if by_default and family != OF_FILE.name and "depth" not in {*ranges, *asked, *self.fixed}:
            raise UserError(f"depth has no default range for family={family}. Give `depth` a list or a range.")
        return tuple(self._with_depths_of(family, dimension) for dimension in found)

    def _layout(self, family):
        """The `Layout` of a family that is searched: the one asked for where the family has it."""
        record, name = find_family(family), self.fixed.get("layout")
        is_known = name in record.layouts or len(self.families) == 1
        return record.layout(name if is_known else None)

    def _with_depths_of(self, family, dimension):
        if dimension.name != "depth":
            return dimension
        asked, layout = dimension.listed(), self._layout(family)
        valid = tuple(depth for depth in asked if layout.has_depth(depth))
        if not valid:
            least, most = min(asked), max(asked)
            below = [str(d) for d in range(max(1, least - 100), least) if layout.has_depth(d)][-1:]
            above = [str(d) for d in range(most + 1, most + 100) if layout.has_depth(d)][:1]
            hint = " and ".join(below + above)
            raise UserError(
                f"depth holds no depth of family={family}. Received depth={dimension.to_text()}"
                + (f"; the nearest are {hint}." if hint else ".")
            )
        return dataclasses.replace(dimension, values=valid, low=None, high=None, step=None)

    def _common(self, asked, wanted, by_default):
        """The dimensions that no family has for itself."""
        found = [dimension for name, dimension in asked.items() if not _is_of_one_family(name)]
        recipe = RECIPES[self._recipe()]
        recipe = recipe | defaults_beside(recipe, self.fixed.get("optimizer"), None, recipe["epochs"])
        for name in COMMON:
            is_free = name not in self.fixed and name not in asked and recipe[name]
            if is_free and (by_default or name in wanted):
                found.append(Dimension.parse(name, f"{recipe[name] / 4:g}-{2 * recipe[name]:g}"))
        known = {name for dimensions in (*self.dimensions.values(), found) for name in (d.name for d in dimensions)}
        for name in wanted:
            if name not in known and name not in self.fixed:
                Dimension.parse(name, "0")  # whether it can be searched at all
                raise UserError(f"{name} has no default range here. Give `{name}` a list or a range.")
        return tuple(found)

    def _recipe(self):
        recipe = self.fixed.get("recipe", _default("recipe"))
        check_choice("recipe", recipe, RECIPES)
        return recipe

    def _check(self):
        if len(self.families) == 1 and all(d.is_single for d in (*self.shared, *self.dimensions[self.families[0]])):
            raise UserError(
                "The search space is empty: every field has one value. Give a list or a range, as in `depth=10-40`."
            )
        tried = []
        for family in self.families:  # a wrong value is found before the first trial
            values = {"family": family}
            for dimension in (*self.dimensions[family], *self.shared):
                values[dimension.name] = (dimension.listed() or (dimension.low,))[0]
            tried.append(self.config(values, epochs=RECIPES[self._recipe()]["epochs"]))
            for dimension in (*self.dimensions[family], *self.shared):
                for value in (dimension.listed() or (dimension.low, dimension.high))[1:]:
                    tried.append(self.config({**values, dimension.name: value}, epochs=100))
        for precision in {config.precision for config in tried}:
            resolve_precision(precision)
        for name in {*self.fixed} & {*EFFECTS}:
            decides, when = EFFECTS[name]
            if not any(decides(config) for config in tried if has_effect(name, config.family)):
                raise UserError(
                    f"`{name}` has an effect only {when}. Received {name}={self.fixed[name]!r}: leave it out."
                )

    def hyperparameters(self):
        """The space as a `keras_tuner.HyperParameters`."""
        space = keras_tuner.HyperParameters()
        several = len(self.families) > 1
        if several:
            space.Choice("family", list(self.families))
        for family, dimensions in self.dimensions.items():
            if several:
                with space.conditional_scope("family", [family]):
                    for dimension in dimensions:
                        # Of two entries of one name KerasTuner drops the value with the one that is not active.
                        dimension.declare(space, prefix=f"{family}.")
            else:
                for dimension in dimensions:
                    dimension.declare(space)
        for dimension in self.shared:
            dimension.declare(space)
            if dimension.name == "schedule" and "step" in dimension.values and "decay_factor" not in self.fixed:
                with space.conditional_scope("schedule", ["step"]):
                    Dimension.parse("decay_factor", ",".join(DECAY_FACTORS)).declare(space)
        return space

    def fields(self, values, epochs, seed=0):
        """The fields of `TrainConfig` that a trial's values mean: all others have their defaults.

        Args:
            values: dict, hyperparameter -> value; KerasTuner's own entries (`tuner/...`) are passed over.
            epochs, seed: int.
        """
        values = without_prefixes(values)
        family = values.get("family", self.families[0])
        fields = {name: value for name, value in self.fixed.items() if self._is_for(family, name, value)}
        fields |= {"family": family, "recipe": self._recipe(), "epochs": epochs, "seed": seed}
        mine = {dimension.name for dimension in (*self.dimensions[family], *self.shared)} | {"decay_factor"}
        fields |= {name: canonical(value) for name, value in values.items() if name in mine}
        for share, field in SHARES.items():
            if share in fields:
                fields[field] = round(fields.pop(share) * epochs, 4)
        if fields.get("schedule") == "step" and not fields.get("decay_epochs") and not self._recipe_decays():
            fields["decay_epochs"] = tuple(round(share * epochs, 3) for share in STEP_SHARES)
        return fields

    def _is_for(self, family, name, value):
        """Whether a fixed value is for a family: where there is one family alone, a wrong one is an error."""
        if len(self.families) == 1:
            return True
        if name in SIZES:
            return name == self._layout(family).size
        return value in find_family(family).layouts if name == "layout" else has_effect(name, family)

    def _recipe_decays(self):
        return bool(RECIPES[self._recipe()]["decay_epochs"])

    def config(self, values, epochs, seed=0):
        """The `TrainConfig` of a trial, see `fields`."""
        return TrainConfig.from_mapping(self.fields(values, epochs, seed))

    def smallest(self, family):
        """Values of a network of the family with the least depth, width and units, and the first of all else."""
        values = {"family": family}
        for dimension in (*self.dimensions[family], *self.shared):
            listed = dimension.listed() or (dimension.low,)
            values[dimension.name] = min(listed) if dimension.name in ("depth", "width", "units") else listed[0]
        return values

    def largest(self, family):
        """`smallest` with the greatest depth, width, units and batch."""
        values = self.smallest(family)
        for dimension in (*self.dimensions[family], *self.shared):
            if dimension.name in ("depth", "width", "units", "batch_size"):
                values[dimension.name] = max(dimension.listed() or (dimension.high,))
        return values

    def num_points(self, family):
        """How many combinations of the family there are, ten of a field of all numbers: what a grid tries."""
        dimensions = (*self.dimensions[family], *self.shared)
        return math.prod(len(dimension.listed() or range(10)) for dimension in dimensions)

    def to_dict(self):
        """JSON-safe: what tells two spaces apart."""
        texts = {family: {d.name: d.to_text() for d in dims} for family, dims in self.dimensions.items()}
        fixed = {name: list(value) if isinstance(value, tuple) else value for name, value in self.fixed.items()}
        return {"fixed": fixed, "families": texts, "shared": {d.name: d.to_text() for d in self.shared}}

    @classmethod
    def from_dict(cls, record):
        """The inverse of `to_dict`."""
        space = cls.__new__(cls)
        space.fixed = dict(record["fixed"])
        space.families = tuple(record["families"])
        space.dimensions = {
            family: tuple(Dimension.parse(name, text) for name, text in texts.items())
            for family, texts in record["families"].items()
        }
        space.shared = tuple(Dimension.parse(name, text) for name, text in record["shared"].items())
        return space


def without_prefixes(values):
    """A trial's values under the names of their fields: `van.depth` is depth."""
    return {name if name.startswith("tuner/") else name.rpartition(".")[2]: value for name, value in values.items()}


def _is_searched(name, value):
    """Whether a given value is a text that may be a list or a range."""
    return isinstance(value, str) and name not in FIXED_ALWAYS


def _default(field):
    return next(option.default for option in dataclasses.fields(TrainConfig) if option.name == field)


def _is_of_one_family(name):
    return is_of_some_families(name) or name in ("depth", "layout", *SHARES)


def has_effect(name, family):
    """Whether a field has an effect on a family."""
    name, record = SHARES.get(name, name), find_family(family)
    return record.has_field(name) or not is_of_some_families(name)


def _at_most(dimension, limit):
    if limit is None or dimension.values is not None or dimension.high <= limit:
        return dimension
    step = min(STEPS.get(dimension.name, dimension.step), limit)
    return dataclasses.replace(dimension, low=min(dimension.low, limit / 4 if step < 1 else limit), high=limit)
