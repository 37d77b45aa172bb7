"""What a tracker does, whichever service is behind it."""

import dataclasses
import os

PROJECT = "dirac-keras"  # where no variable of the environment names another
FINISHED, INTERRUPTED, DIVERGED, FAILED = "finished", "interrupted", "diverged", "failed"  # how a training ended


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """The run that is shown.

    Attributes:
        name: str, for people: the last part of the workdir's path.
        identity: str of hexadecimal digits that no other run has; a resumed run has the same.
        config: dict, fields of the configuration and facts of the machine, JSON-safe.
        epochs_done: int, epochs that a resumed run has behind it.
    """

    name: str
    identity: str
    config: dict
    epochs_done: int = 0


class Tracker:
    """One service. A subclass wraps its package, which is imported when `check` is called.

    The methods may raise whatever the package raises: `Tracking` makes of it an error before the training, a warning
    within.
    """

    name = ""
    way_out = ""  # sentence: what helps where the service does not answer

    def check(self):
        """Raise MissingExtra or UserError if nothing can be written; ask nothing, wait for nothing."""
        raise NotImplementedError

    def start(self, run):
        """Begin a `TrackedRun`, or go on with the one of its identity. Returns: str, where its curves are."""
        raise NotImplementedError

    def log(self, epoch, figures):
        """Write the figures of an epoch. Args: int from 1, dict of floats."""
        raise NotImplementedError

    def finish(self, epoch, summary, status):
        """Close the run.

        Args:
            epoch: int, the last one that was trained.
            summary: dict of the final figures; empty if there are none.
            status: one of `FINISHED`, `INTERRUPTED`, `DIVERGED`, `FAILED`.
        """
        raise NotImplementedError


def setting(variable, default=None):
    """What a variable of the environment says; `default` where it is absent or empty."""
    return os.environ.get(variable) or default


def numbers_of(summary):
    """The numbers of a summary, as floats."""
    return {
        name: float(value)
        for name, value in summary.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
