"""The trackers of a training: what stops it before it begins, and what within does not."""

import dataclasses
import importlib
import logging

from dirac_keras.callbacks.trackers.lane import Lane
from dirac_keras.callbacks.trackers.names import tracker_names
from dirac_keras.callbacks.trackers.tracker import FAILED
from dirac_keras.errors import MissingExtra, UserError

logger = logging.getLogger("dirac_keras")
START_SECONDS, LOG_SECONDS, FINISH_SECONDS = 90.0, 20.0, 90.0
_MODULES = "dirac_keras.callbacks.trackers.of_{}"


def open_tracking(text):
    """The trackers that a configuration names, checked but not begun.

    Args:
        text: str, see `tracker_names`.

    Raises: UserError: if one is not logged in, or set up in a way that cannot work. MissingExtra: if its package is
        not installed.
    """
    trackers = [importlib.import_module(_MODULES.format(name)).make() for name in tracker_names(text)]
    for tracker in trackers:
        tracker.check()
    return Tracking(trackers)


@dataclasses.dataclass
class _State:
    """What became of one tracker.

    Attributes:
        unsent: list of `(epoch, figures)` that it has not taken yet.
        failed: int, calls that failed.
        is_lost: bool, whether it has not answered in time, so that no more is asked of it.
        lane: `Lane` of its calls.
    """

    unsent: list = dataclasses.field(default_factory=list)
    failed: int = 0
    is_lost: bool = False
    lane: Lane = dataclasses.field(default_factory=Lane)


class Tracking:
    """Several `Tracker`s as one.

    A tracker that fails while the network trains is named in one warning. What it has not taken is kept and sent with
    the next epoch; what is left at the end is counted. One that does not answer in time is left alone from then on.

    Args:
        trackers: list of `Tracker`.
    """

    def __init__(self, trackers=()):
        self.trackers = list(trackers)
        self._states = {}
        self._epoch = 0

    def __bool__(self):
        return bool(self.trackers)

    def start(self, run):
        """Begin the run everywhere, and say where its curves are.

        Args:
            run: `TrackedRun`.

        Raises: UserError: if a tracker cannot be reached; those before it are closed.
        """
        self._epoch = run.epochs_done  # a run may be resumed after its last epoch, and none is logged
        for tracker in self.trackers:
            state = _State()
            try:
                where = state.lane.call(lambda tracker=tracker: tracker.start(run), START_SECONDS)
            except (UserError, MissingExtra):
                self.finish({}, FAILED)
                raise
            except Exception as error:
                self.finish({}, FAILED)
                raise UserError(f"tracker: {tracker.name} cannot begin: {_reason(error)}. {tracker.way_out}") from error
            self._states[tracker] = state
            logger.info("tracker: %s: %s", tracker.name, where)

    def log(self, epoch, figures):
        """Write the figures of an epoch, int from 1, a dict of numbers."""
        self._epoch = epoch
        figures = {name: float(value) for name, value in figures.items()}
        for tracker, state in self._states.items():
            state.unsent.append((epoch, figures))
            self._send(tracker, state)

    def finish(self, summary, status):
        """Close the run everywhere, and count what could not be written. See `Tracker.finish`."""
        for tracker, state in self._states.items():
            if state.unsent:
                self._send(tracker, state)
            self._try(
                tracker, state, lambda tracker=tracker: tracker.finish(self._epoch, summary, status), FINISH_SECONDS
            )
            if state.unsent or state.failed:
                logger.warning(
                    "tracker: %s: %d calls failed; %d epochs are not there", tracker.name, state.failed,
                    len(state.unsent),
                )  # fmt: skip
        self._states = {}

    def _send(self, tracker, state):
        while state.unsent:
            epoch, figures = state.unsent[0]
            call = lambda: tracker.log(epoch, figures)  # noqa: E731, B023 - called at once
            if not self._try(tracker, state, call, LOG_SECONDS):
                return
            state.unsent.pop(0)

    def _try(self, tracker, state, call, seconds):
        """Whether a call has succeeded; the first that does not is warned of."""
        if state.is_lost:
            return False
        try:
            state.lane.call(call, seconds)
        except Exception as error:
            state.is_lost = isinstance(error, TimeoutError)
            state.failed += 1
            if state.failed == 1:
                logger.warning(
                    "tracker: %s: %s; the training goes on, and its files in the run's folder have every epoch",
                    tracker.name, _reason(error),
                )  # fmt: skip
            return False
        return True


def _reason(error):
    lines = str(error).strip().splitlines()
    return (lines[0][:300].rstrip(".") if lines else "") or type(error).__name__
