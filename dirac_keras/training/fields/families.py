"""Which fields a family and its layout have: a value that decides nothing is an error."""

import dataclasses

from dirac_keras.errors import UserError
from dirac_keras.models.family import SIZES, families_with, is_of_some_families

# What fields of some families are for the others.
WITHOUT_EFFECT = {"width": 1.0, "parameterization": "dirac"}

# Of each family, and of no network that is there already.
NOT_OF_FILE = dict.fromkeys(("depth", "kernel_initializer", "filter_scale", "width"))


def check_fields_of_file(config):
    """Raise UserError if a `TrainConfig` of family "file" asks for another network than that of its file."""
    for name in NOT_OF_FILE:
        if getattr(config, name) is not None:
            raise UserError(
                f"{name} is a field of the families that are built; family=file takes the network as it stands in the "
                f"file of `start`. Received {name}={getattr(config, name)!r}: leave it out, or give the `family` of "
                "the network in that file."
            )


def check_fields_of_family(config, family, layout):
    """Raise UserError if a field of a `TrainConfig` has no effect on its `Family` with this `Layout`."""
    for option in dataclasses.fields(config):
        name, value = option.name, getattr(config, option.name)
        if value in (option.default, WITHOUT_EFFECT.get(name)) or not is_of_some_families(name):
            continue
        if not family.has_field(name):
            raise UserError(
                f"{name} is a field of family={', '.join(families_with(name))}; it has no effect on {config.family}. "
                f"Received {name}={value!r}: leave it out."
            )
        if name in SIZES and name != layout.size:
            size = "fixed" if layout.size is None else f"set by {layout.size}"
            raise UserError(
                f"{name} has no effect on family={config.family} with layout={config.layout}, whose layer sizes are "
                f"{size}. Received {name}={value!r}: leave it out."
            )
