"""Where the random decisions of a graph come from: a seed, or hypothesis, which shrinks what fails."""

import numpy as np
from hypothesis import strategies as st


class SeededChoices:
    """Decisions from a seed: the same graph every time."""

    def __init__(self, seed):
        self._random = np.random.default_rng(seed)

    def integer(self, low, high):
        """An int from `low` to `high`, both included."""
        return int(self._random.integers(low, high + 1))

    def pick(self, options):
        options = list(options)
        return options[self.integer(0, len(options) - 1)]

    def chance(self, probability):
        return self.integer(0, 999) >= 1000 * (1.0 - probability)

    def weighted(self, options):
        """A key of the dict option -> whole-number weight."""
        return self.pick([option for option, weight in options.items() for _ in range(weight)])


class DrawnChoices(SeededChoices):
    """Decisions that hypothesis draws. Smaller numbers, first options and "no" are the simpler graph."""

    def __init__(self, draw):
        self._draw = draw

    def integer(self, low, high):
        return self._draw(st.integers(low, high))


class Replayed(SeededChoices):
    """The decisions of `recorded` once more, for the twin of a graph in another precision."""

    def __init__(self, recorded):
        self._values = iter(recorded)

    def integer(self, low, high):
        return next(self._values)


class Recorder(SeededChoices):
    """Passes decisions on and keeps them."""

    def __init__(self, choices):
        self._choices, self.values = choices, []

    def integer(self, low, high):
        self.values.append(self._choices.integer(low, high))
        return self.values[-1]
