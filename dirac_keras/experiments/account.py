"""What of a reproduction was not done, and why: it is said at the end."""

import dataclasses


@dataclasses.dataclass
class Account:
    """Runs that were not trained.

    Attributes:
        absent: dict, data set -> (why it cannot be read, names of the runs that need it).
        left: names of the runs that the budget did not suffice for.
        ended: int, runs that have ended, in this call or before.
    """

    absent: dict = dataclasses.field(default_factory=dict)
    left: list = dataclasses.field(default_factory=list)
    ended: int = 0

    def to_dict(self):
        """The runs as JSON-safe values: by data set that is absent, left by the budget, and how many have ended."""
        absent = {data: {"reason": reason, "runs": list(names)} for data, (reason, names) in self.absent.items()}
        return {"absent": absent, "left": list(self.left), "ended": self.ended}

    def lines(self):
        """Sentences of what was not done; an empty list if there is nothing."""
        found = []
        for data, (reason, names) in self.absent.items():
            found.append(f"Skipped {_count(names)} that {'need' if len(names) > 1 else 'needs'} {data}: {reason}")
        if self.left:
            found.append(f"The budget is used up: {_count(self.left)} left, the next is {self.left[0]}.")
        return found


def _count(names):
    names = list(dict.fromkeys(names))
    return f"{len(names)} run{'s' if len(names) > 1 else ''}"
