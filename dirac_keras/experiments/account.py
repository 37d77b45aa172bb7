"""What of a reproduction was not done, and why: it is said at the end."""

import dataclasses

from dirac_keras.files.amounts import counted


@dataclasses.dataclass
class Account:
    """Runs that were not trained, and reports that were not written.

    Attributes:
        absent: dict, data set -> (why it cannot be read, names of the runs that need it).
        left: names of the runs that the budget did not suffice for.
        ended: int, runs that have ended, in this call or before.
        reports_left: names of the entries whose report the budget did not suffice for.
        reports_absent: dict, name of an entry -> why the data that its report looks at cannot be read.
    """

    absent: dict = dataclasses.field(default_factory=dict)
    left: list = dataclasses.field(default_factory=list)
    ended: int = 0
    reports_left: list = dataclasses.field(default_factory=list)
    reports_absent: dict = dataclasses.field(default_factory=dict)

    @property
    def is_unfinished(self):
        """Whether the budget left something to the next call."""
        return bool(self.left or self.reports_left)

    def to_dict(self):
        """The runs as JSON-safe values: by data set that is absent, left by the budget, and how many have ended."""
        absent = {data: {"reason": reason, "runs": list(names)} for data, (reason, names) in self.absent.items()}
        reports = {"reports_left": list(self.reports_left), "reports_absent": dict(self.reports_absent)}
        return {"absent": absent, "left": list(self.left), "ended": self.ended, **reports}

    def lines(self):
        """Sentences of what was not done; an empty list if there is nothing."""
        found = []
        for data, (reason, names) in self.absent.items():
            found.append(f"Skipped {_count(names)} that {'need' if len(names) > 1 else 'needs'} {data}: {reason}")
        if self.left:
            found.append(f"The budget is used up: {_count(self.left)} left, the next is {self.left[0]}.")
        for name, reason in self.reports_absent.items():
            found.append(f"The report of {name} is not written: {reason}")
        if self.reports_left and not self.left:
            found.append(f"The budget is used up; reports left: {', '.join(self.reports_left)}.")
        return found


def _count(names):
    names = list(dict.fromkeys(names))
    return counted(len(names), "run")
