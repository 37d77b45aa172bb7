"""`PlainSkip`: what became of one skip connection."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PlainSkip:
    """A skip connection that is carried through its branch.

    Attributes:
        join: str, the addition that is gone.
        start: str, the layer whose output the skip takes.
        how: str, how its channels are carried.
        channels: int, carried beside those of the branch.
        into: str, the layer that adds them.
    """

    join: str
    start: str
    how: str
    channels: int
    into: str
