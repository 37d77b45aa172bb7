"""What of a folder is not used, and why: counted as it is met, said in a few lines."""

from __future__ import annotations

import dataclasses

from pipelines.printable import printable

EXAMPLES = 3


@dataclasses.dataclass
class Group:
    """Files or folders that are passed over for one reason.

    Args:
        count: of files.
        examples: paths of the first of them, relative to the folder that was read.
    """

    count: int = 0
    examples: list[str] = dataclasses.field(default_factory=list)


class PassedOver:
    """Groups by their reason, a phrase that stands before its count.

    Args:
        root: the folder that is read, a prefix that examples are named without.
    """

    def __init__(self, root: str):
        self.root = root
        self.groups: dict[str, Group] = {}

    def add(self, reason: str, path: str | None, count: int = 1) -> None:
        """Count a file, or a folder of `count` files, or `count` files that are named elsewhere."""
        if count:
            group = self.groups.setdefault(reason, Group())
            group.count += count
            if path is not None and len(group.examples) < EXAMPLES:
                group.examples.append(printable(path.removeprefix(self.root).lstrip("/\\")))

    def lines(self) -> list[str]:
        """A line for each reason, the largest group first."""
        groups = sorted(self.groups.items(), key=lambda item: -item[1].count)
        return [f"{reason}: {group.count:,}{self._named(group)}" for reason, group in groups]

    def inline(self) -> str:
        """All of it as an addition to a message; empty if nothing was passed over."""
        groups = [f"{reason}: {group.count:,}" for reason, group in self.groups.items()]
        return f"; passed over: {', '.join(groups)}" if groups else ""

    def take_over(self, other: PassedOver) -> None:
        """Add what another one has counted under the same root."""
        for reason, group in other.groups.items():
            mine = self.groups.setdefault(reason, Group())
            mine.count += group.count
            mine.examples = [*mine.examples, *group.examples][:EXAMPLES]

    def _named(self, group: Group) -> str:
        names = [*group.examples, *(["..."] if group.count > len(group.examples) else [])]
        return f" ({', '.join(names)})" if group.examples else ""

    def to_list(self) -> list[dict]:
        """The reasons with counts and examples, JSON-safe."""
        return [{"reason": reason, **dataclasses.asdict(group)} for reason, group in self.groups.items()]
