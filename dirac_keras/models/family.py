"""The record of a model family: all that the other wings know of it.

Configuration, command line, search, budget, experiments and training read these records and name no family. A new
family is one file with a builder and its `register_family(Family(...))`, and one line in `models/__init__.py`.
"""

import dataclasses
import functools
import pathlib
import warnings
from collections.abc import Callable, Mapping

from dirac_keras.errors import UserError, check_choice

FAMILIES = {}  # name -> `Family`, in the order of registration
SIZES = ("width", "units")  # the fields that size a layer; a layout has one of them, or none
MAX_DEPTH = 2000  # up to which depths are looked for
RECORD_FIELDS = ("family", "depth", "layout", "kernel_initializer", "filter_scale")  # of every family


@dataclasses.dataclass(frozen=True)
class Layout:
    """One form of a family's networks, such as `"cifar"` or `"dense"`.

    Attributes:
        depths: function `depth -> object` that raises ValueError or gives False where there is no such network. None:
            there is one of every depth.
        depth_rule: text of the depths, as in `"6 N + 4"`; empty where there is one of every depth.
        size: name of the field that sizes a layer, `"width"` or `"units"`; None if the layers have fixed sizes.
        defaults: dict, field of `TrainConfig` -> value where the field is None.
        search: dict, field -> text of the range that a search takes by default, see `tuning.dimensions`.
        recipe: name of the recipe of the paper that the networks come from; None if there is no such recipe.
        channels: tuple of int, of the convolutions of each group at `width=1`, each group of half the sides of the one
            before; empty for dense networks. With the next it serves the estimate of a network's size.
        stem_stride: int, by which the stem divides the sides.
    """

    depths: Callable | None = None
    depth_rule: str = ""
    size: str | None = "width"
    defaults: Mapping = dataclasses.field(default_factory=dict)
    search: Mapping = dataclasses.field(default_factory=dict)
    recipe: str | None = None
    channels: tuple = ()
    stem_stride: int = 1

    def has_depth(self, depth):
        """Whether there is a network of `depth` layers."""
        try:
            return self.depths is None or bool(self.depths(depth))
        except ValueError:
            return False

    def check_depth(self, depth):
        """Raise UserError if there is no network of `depth` layers."""
        if self.depths is not None and not self.depths(depth):
            raise UserError(f"depth must be {self.depth_rule}. Received depth={depth!r}.")

    def smallest_depth(self):
        """The least depth that there is."""
        return next(depth for depth in range(1, MAX_DEPTH) if self.has_depth(depth))


# Networks of thin dense layers, as the VAN paper compares them (section 4.1).
THIN_DENSE = Layout(
    size="units",
    defaults={"units": 50},
    search={"depth": "5-30:5", "units": "25,50,100"},
    recipe="van_dense",
)


@dataclasses.dataclass(frozen=True)
class Family:
    """A model family.

    Attributes:
        name: str, as `TrainConfig.family` gives it.
        builder: function -> `keras.Model`. It takes `num_classes`, `input_shape`, `depth`, `fields`, `arguments`, the
            layout's `size` field and, where there are several layouts, `layout`.
        layouts: dict, name -> `Layout`; the first is the default.
        fields: names of the fields of `TrainConfig` that are arguments of the builder too.
        arguments: dict, other argument of the builder -> function `config -> value`.
        training_fields: names of the fields that decide how such a network is trained, not how it is built.
        tags: function `config -> tuple of str`, what tells two networks of one layout and size apart.
        label: function `config -> tuple of str`, the name of a config's network; None makes it from the name, the
            layout, the size and the tags.
    """

    name: str
    builder: Callable
    layouts: Mapping
    fields: tuple = ()
    arguments: Mapping = dataclasses.field(default_factory=dict)
    training_fields: tuple = ()
    tags: Callable = lambda config: ()
    label: Callable | None = None

    @property
    def default_layout(self):
        return next(iter(self.layouts))

    @property
    def phases_out(self):
        """Whether skip connections fade out during training."""
        return "phase_out_fraction" in self.training_fields

    def layout(self, name=None):
        """The `Layout` of a name; None gives the default. Raises: UserError: if there is none of that name."""
        name = self.default_layout if name is None else name
        if name not in self.layouts:
            raise UserError(
                f"layout must be one of {', '.join(self.layouts)} for family={self.name}. Received layout={name!r}."
            )
        return self.layouts[name]

    def has_field(self, name):
        """Whether a field that only some families have decides something for this one."""
        sizes = {layout.size for layout in self.layouts.values()}
        return name in (*self.fields, *self.training_fields, *sizes)

    def build(self, config, spec):
        """The untrained model of a `TrainConfig` for a data set's `spec` (`image_shape`, `num_classes`)."""
        names = ["depth", *self.fields]
        size = self.layout(config.layout).size
        names += [size] if size else []
        names += ["layout"] if len(self.layouts) > 1 else []
        arguments = {name: getattr(config, name) for name in names}
        arguments |= {name: value_of(config) for name, value_of in self.arguments.items()}
        return self.builder(num_classes=spec.num_classes, input_shape=spec.image_shape, **arguments)

    def network_label(self, config):
        """What tells the network of a config apart from others', as a tuple of words."""
        if self.label is not None:
            return self.label(config)
        layout = (config.layout,) if len(self.layouts) > 1 else ()
        return (self.name, *layout, size_label(config), *self.tags(config))


# A network as it stands in the file that `start` names, of whatever kind: no builder makes it, `training.given` does.
# It is none of `FAMILIES`, of which every one can be built, searched and reproduced.
OF_FILE = Family(
    "file",
    None,
    {"as_it_is": Layout(size=None)},
    label=lambda config: ("file", pathlib.Path(config.start or "none").stem),
)


def is_of_file(config):
    """Whether the network of a `TrainConfig` is that of the file in `start`."""
    return config.family == OF_FILE.name


def size_label(config):
    """Depth and size of a layer, `28-1` or `30-50`; the depth alone where the sizes are fixed."""
    size = FAMILIES[config.family].layout(config.layout).size
    return f"{config.depth}" if size is None else f"{config.depth}-{getattr(config, size):g}"


def register_family(family):
    """Make a `Family` known under its name. Returns: it.

    Raises: UserError: if another family has the name.
    """
    if FAMILIES.setdefault(family.name, family) is not family:
        raise UserError(f"name must be that of one family alone. Received a second family name={family.name!r}.")
    return family


def describe_layouts(text_of):
    """What layouts have in common, for a help text: `"6 N + 4 for diracnet cifar, wide_resnet; 18 or 34 for ..."`.

    Args:
        text_of: function `Layout -> str`; a layout with an empty text is left out.
    """
    networks = {}
    for name, family in FAMILIES.items():
        for layout_name, layout in family.layouts.items():
            if text := text_of(layout):
                networks.setdefault(text, []).append(name if len(family.layouts) == 1 else f"{name} {layout_name}")
    return "; ".join(f"{text} for {', '.join(names)}" for text, names in networks.items())


def find_family(name):
    """The `Family` of a name, `OF_FILE` among them. Raises: UserError: with the known names if there is none."""
    if name == OF_FILE.name:
        return OF_FILE
    check_choice("family", name, (*FAMILIES, OF_FILE.name))
    return FAMILIES[name]


def families_with(field):
    """Names of the families for which a field decides something; all of them for a field that every family has."""
    owners = tuple(name for name, family in FAMILIES.items() if family.has_field(field))
    return owners or tuple(FAMILIES)


def is_of_some_families(field):
    """Whether only some families have a field."""
    return field not in RECORD_FIELDS and any(family.has_field(field) for family in FAMILIES.values())


def kernel_start(config, own=None):
    """Initializer of kernels: the builder's `own`, unless the config names one; beside a `sigma` "orthogonal" alone."""
    if config.sigma is not None and config.kernel_initializer != "orthogonal":
        return own
    return own if config.kernel_initializer == "paper" else config.kernel_initializer


def renamed_arguments(**names):
    """A decorator that lets a builder take arguments under former names, with a FutureWarning that has the new one.

    Args:
        names: former name -> new name.
    """

    def decorate(builder):
        @functools.wraps(builder)
        def build(*args, **kwargs):
            for former in names.keys() & kwargs.keys():
                new = names[former]
                warnings.warn(f"{builder.__name__}: {former} is now {new}.", FutureWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(former)
            return builder(*args, **kwargs)

        return build

    return decorate
