"""Timing of alternatives in turn, so that the machine's moods hit all of them alike."""

import statistics
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of one alternative, a value a round."""

    name: str
    seconds: list

    @property
    def median(self):
        return statistics.median(self.seconds)

    def ratio_to(self, other):
        """`(median, lowest, highest)` of the ratio round by round."""
        ratios = [mine / theirs for mine, theirs in zip(self.seconds, other.seconds, strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)


def time_in_turn(alternatives, rounds, calls=3, warmup=3):
    """Time each of `{name: function}` in turn, `rounds` times.

    Args:
        alternatives: functions without arguments that return when the work is done.
        rounds: int, values for each.
        calls: int, calls in a value.
        warmup: int, calls before the first value.

    Returns: list of `Timing`, in the order given.
    """
    for function in alternatives.values():
        for _ in range(warmup):
            function()
    seconds = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, function in alternatives.items():
            start = time.perf_counter()
            for _ in range(calls):
                function()
            seconds[name].append((time.perf_counter() - start) / calls)
    return [Timing(name, values) for name, values in seconds.items()]
