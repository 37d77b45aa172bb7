"""How many steps a chunk has: as many as take about a second, or as the user says."""

TARGET_SECONDS = 1.0  # a signal waits so long for its turn, and a bar on a terminal moves so often
GROWTH = 4  # from one chunk to the next at most: the first ones are timed with all that surrounds them
NEAR = 1.25  # a length that is so near to the wanted one stays: the next chunk was made ready for it
BUFFER_STEPS = 512  # of which the program is compiled for any number


def parse_steps(value):
    """`"auto"` or a whole number of 1 or more, also as text; None if it is neither."""
    if value == "auto":
        return value
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return value if is_count else None


class ChunkLength:
    """The number of steps that the next chunk may have.

    Args:
        asked: `"auto"` or int.
        capacity: int, most steps that a chunk can have.

    Attributes:
        value: int.
        most: int, what `value` may become.
    """

    def __init__(self, asked, capacity):
        self.is_fixed = asked != "auto"
        self.most = min(asked, capacity) if self.is_fixed else capacity
        self.value = self.most if self.is_fixed else 1

    def measured(self, steps, seconds):
        """Take in that a chunk of so many steps, its compilation apart, took so long."""
        if self.is_fixed or seconds <= 0:
            return
        wanted = max(1, min(int(TARGET_SECONDS * steps / seconds), self.most))
        if not 1 / NEAR <= wanted / self.value <= NEAR:
            self.value = min(wanted, GROWTH * self.value)


def capacity_of(asked, steps_per_epoch, bytes_per_step, most_bytes):
    """Steps that the program's input has room for.

    A run has the same program for every chunk length up to `BUFFER_STEPS`, so far as `most_bytes` allows.

    Args:
        asked: `"auto"` or int.
        steps_per_epoch: int.
        bytes_per_step: int, of what a step takes in.
        most_bytes: int, what the input may have together, unless the user asks for more steps.
    """
    fitting = max(1, min(BUFFER_STEPS, most_bytes // max(1, bytes_per_step)))
    return max(1, min(steps_per_epoch, fitting if asked == "auto" else max(asked, fitting)))
