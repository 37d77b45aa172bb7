"""What a field of a `TrainConfig` says of itself."""

import dataclasses

from dirac_keras.models.family import describe_layouts

GROUPS = ("Data", "Model", "Training")  # of the fields, in the order of a help text


def field(default, group, check, text):
    """A field of `TrainConfig`: its default, group, the check of its values, and its help text.

    The families for which it decides something are read from their records.
    """
    return dataclasses.field(default=default, metadata={"group": group, "check": check, "help": text})


def layouts_defaults(name):
    """What a field is by default in the layouts that say so, for its help text."""
    return describe_layouts(lambda layout: str(layout.defaults.get(name, "")))
