"""The place at which a part is added: the graph's settings, what it has decided, and the shapes that are known."""

import keras
import numpy as np

RANKS_OF_LAYERS = {3: "1D", 4: "2D", 5: "3D"}


class Site:
    """What parts ask for: random decisions, names of formats and precisions, constants.

    Args:
        choices: source of decisions, `choices.SeededChoices`.
        precision: None lets layers have a dtype of their own now and then; a dtype forces it on all of them.
    """

    def __init__(self, choices, data_format="channels_last", precision=None, is_mixed=False, depth=0):
        self.choices = choices
        self.data_format = data_format
        self.precision = precision
        self.is_mixed = is_mixed
        self.depth = depth  # of nesting

    def inner(self):
        """The site of a model inside this one."""
        return Site(self.choices, self.data_format, self.precision, self.is_mixed, self.depth + 1)

    def dtype(self):
        """The dtype argument of a layer, of few layers another one than the graph's."""
        other = self.choices.pick(["float64", "float16", "mixed_bfloat16", "float32"])
        is_other = self.is_mixed and self.choices.chance(0.15)
        return (self.precision or other) if is_other else None

    def channel_axis(self, x):
        return 1 if self.data_format == "channels_first" and len(x.shape) > 2 else len(x.shape) - 1

    def channels(self, x):
        return x.shape[self.channel_axis(x)]

    def sizes(self, x):
        """Lengths of the spatial axes, None where open."""
        axis = self.channel_axis(x)
        return [length for place, length in enumerate(x.shape) if place not in (0, axis)]

    def smallest(self, x):
        """The smallest spatial length; an open one counts as large."""
        return min([99 if length is None else length for length in self.sizes(x)], default=0)

    def filters(self):
        return self.choices.pick([4, 2, 3, 6, 8])

    def constant(self, shape):
        """Random numbers that differ from place to place, rounded so that float16 holds them."""
        random = np.random.default_rng(self.choices.integer(0, 2**16))
        return (np.round(random.normal(size=shape) * 64) / 64).astype(self.precision or "float32")


def is_float(x):
    return "float" in keras.backend.standardize_dtype(x.dtype)


def is_known(x):
    """Whether no length but the batch is open."""
    return None not in x.shape[1:]
