"""KerasTuner's oracles with what they lack: a budget, a journal, workers that die, an end by the clock."""

import json
import time

import keras_tuner
from keras_tuner import oracles
from keras_tuner.engine import trial as trials

from dirac_keras.errors import UserError, missing_extra
from tuning.journal import WAY_OUT
from tuning.space import without_prefixes

RUNNING, IDLE, STOPPED = "RUNNING", "IDLE", "STOPPED"
COMPLETED, FAILED = "COMPLETED", "FAILED"
TUNERS = ("random", "grid", "hyperband", "bayesian")
OBJECTIVE = "val_accuracy"
RECORD = "record"  # the result as a text among a trial's values: KerasTuner's protocol carries no other
SETTINGS = "settings"  # an entry of the space with one value, which workers read
MAX_FAILURES = 3  # in a row, until the search stops
MAX_DEATHS = 2  # workers that a trial may cost
MAX_DRAWS = 2000  # fruitless ones in a row, until the space counts as exhausted


class KeptOracle:
    """Mixin before one of KerasTuner's oracles.

    `begin` gives it what it needs; `replay` brings it to where the journal ends. Trials that fail do not raise but
    stop the search when `MAX_FAILURES` follow each other since it was begun.

    Attributes:
        records: dict, number of a trial -> dict with `status`, `score` and what the trial reported, in the order
            of ending.
        num_rejected: int, candidates drawn and found over the budget.
        why_stopped: text; empty while trials are given out, or if all were.
    """

    def begin(self, journal, why_rejected, lease_seconds=0.0, listener=None, deadline=None):
        """Args:
        journal: `Journal`.
        why_rejected: function of a dict of values: why the candidate is over the budget, or an empty text.
        lease_seconds: silence after which a worker counts as gone and its trial goes to the next that asks.
        listener: object with `trial_began(number, values)` and `trial_ended(number, record)`, or None.
        deadline: `time.monotonic()` after which no trial is given out; None for none.
        """
        self.journal, self.why_rejected, self.lease_seconds = journal, why_rejected, lease_seconds
        self.listener, self.deadline = listener, deadline
        self.records, self.num_rejected, self.why_stopped = {}, 0, ""
        self.told_to_stop = set()
        self._heard, self._deaths = {}, {}
        self._num_replayed = 0
        self._begun = time.monotonic()
        self._max_collisions = MAX_DRAWS
        self.max_consecutive_failed_trials = 10**9  # `end_trial` would raise in the middle of its work

    def replay(self):
        """Do again what the journal says, without training.

        Raises: UserError: if this oracle would have given out other trials.
        """
        listener, self.listener = self.listener, None
        for event in list(self.journal.events):
            if event["event"] == "create":
                trial = super().create_trial(event["worker"])
                if trial.status != RUNNING or _plain(trial.hyperparameters.values) != event["values"]:
                    raise UserError(
                        f"{self.journal.path} was written by another version of KerasTuner: trial {event['trial']} "
                        f"would be {_plain(trial.hyperparameters.values)}, but was {event['values']}. {WAY_OUT}"
                    )
            elif event["event"] == "end":
                trial = self.trials[self._id_of(event["trial"])]
                self._settle(trial, event["status"], event["record"])
            elif event["event"] == "latency":
                self.records[event["trial"]]["latency_ms"] = event["latency_ms"]
            elif event["event"] == "move":
                self.ongoing_trials[event["to"]] = self.ongoing_trials.pop(event["from"])
                self._forget(event["from"])
        self.listener = listener
        self._num_replayed = len(self.records)  # what made three trials fail may be mended since

    @keras_tuner.synchronized
    def create_trial(self, tuner_id):
        self._heard[tuner_id] = time.monotonic()
        self._check_clock_and_failures()
        if self.why_stopped:
            return self._tell_to_stop(tuner_id)
        self._take_over(tuner_id)
        is_new = tuner_id not in self.ongoing_trials
        trial = super().create_trial(tuner_id)
        if trial.status == STOPPED:
            if self.ongoing_trials:  # its worker may die, and another must be there
                self.tuner_ids.add(tuner_id)
                return trials.Trial(self.get_space(), "", IDLE)
            return self._tell_to_stop(tuner_id)
        if trial.status == RUNNING:
            number = int(trial.trial_id)
            if is_new:
                values = _plain(trial.hyperparameters.values)
                self.journal.add("create", worker=tuner_id, trial=number, values=values)
            if self.listener:
                self.listener.trial_began(number, trial.hyperparameters.values)
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial):
        record = json.loads(trial.hyperparameters.values.pop(RECORD))
        number = int(trial.trial_id)
        if number in self.records:
            return  # by a worker that was thought dead: another has ended it
        status = COMPLETED if trial.status == COMPLETED else FAILED
        self.journal.add("end", trial=number, status=status, record=record)
        self._settle(self.trials[trial.trial_id], status, record)
        self._check_clock_and_failures()

    def update_trial(self, trial_id, metrics, step=0):
        """The score comes with the trial's end, so that both are one event."""
        self.get_trial(trial_id)
        return self.trials[trial_id]

    def get_trial(self, trial_id):
        """A trial; workers ask while they train, and so say that they live."""
        for tuner_id, trial in self.ongoing_trials.items():
            if trial.trial_id == trial_id:
                self._heard[tuner_id] = time.monotonic()
        return super().get_trial(trial_id)

    def keep_latency(self, number, latency_ms):
        """Add the latency of a trial's network, which was measured after it."""
        self.journal.add("latency", trial=number, latency_ms=latency_ms)
        self.records[number]["latency_ms"] = latency_ms

    def is_over(self):
        """Whether there is nothing to wait for: no trial runs, and who asked was told to stop, or is gone."""
        waiting = [tuner_id for tuner_id in list(self.tuner_ids) if not self._is_gone(tuner_id)]
        return bool(self.told_to_stop) and not self.ongoing_trials and not waiting

    def give_up(self, tuner_id):
        """A worker is known to be gone."""
        self._heard[tuner_id] = float("-inf")

    def _is_gone(self, tuner_id):
        return time.monotonic() - self._heard.get(tuner_id, self._begun) >= self.lease_seconds

    def _settle(self, trial, status, record):
        """The end of a trial, told to KerasTuner."""
        if status == COMPLETED:
            super().update_trial(trial.trial_id, {OBJECTIVE: record["score"]})
        trial.status, trial.message = (status, record.get("reason", ""))
        super().end_trial(trial)
        number = int(trial.trial_id)
        values = without_prefixes(_plain(trial.hyperparameters.values))
        self.records[number] = {**record, "trial": number, "status": trial.status, "values": values}
        if self.listener:
            self.listener.trial_ended(number, self.records[number])

    def _check_clock_and_failures(self):
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.why_stopped = self.why_stopped or "the time is up"
        last = list(self.records.values())[self._num_replayed :][-MAX_FAILURES:]
        if len(last) == MAX_FAILURES and all(record["status"] == FAILED for record in last):
            self.why_stopped = f"{MAX_FAILURES} trials in a row failed, the last: {last[-1]['reason']}"

    def _tell_to_stop(self, tuner_id):
        self.tuner_ids.discard(tuner_id)
        self.told_to_stop.add(tuner_id)
        return trials.Trial(self.get_space(), "", STOPPED)

    def _take_over(self, tuner_id):
        """Give the trial of a worker that is gone to one that asks."""
        if tuner_id in self.ongoing_trials:
            return
        for other, trial in list(self.ongoing_trials.items()):
            if not self._is_gone(other):
                continue
            self._forget(other)
            self._deaths[trial.trial_id] = self._deaths.get(trial.trial_id, 0) + (self.lease_seconds > 0)
            self.journal.add("move", trial=int(trial.trial_id), **{"from": other, "to": tuner_id})
            self.ongoing_trials[tuner_id] = self.ongoing_trials.pop(other)
            if self._deaths[trial.trial_id] < MAX_DEATHS:
                return
            reason = f"{MAX_DEATHS} workers died in it: out of memory?"
            record = {"reason": reason}
            self.journal.add("end", trial=int(trial.trial_id), status=FAILED, record=record)
            self._settle(trial, FAILED, record)

    def _forget(self, tuner_id):
        self.tuner_ids.discard(tuner_id)
        self._heard.pop(tuner_id, None)

    def _id_of(self, number):
        return next(trial_id for trial_id in self.trials if int(trial_id) == number)

    def admits(self, values):
        """Whether a candidate keeps to the budget; one that does not is counted."""
        is_over = bool(self.why_rejected(values))
        self.num_rejected += is_over
        return not is_over

    def _duplicate(self, values):
        """Asked before a drawn candidate becomes a trial: one that is over the budget is drawn again."""
        return super()._duplicate(values) or not self.admits(values)


class RandomOracle(KeptOracle, oracles.RandomSearchOracle):
    """Draws at random."""


class HyperbandOracle(KeptOracle, oracles.HyperbandOracle):
    """Trains many for few epochs and the better ones for more."""


class BayesianOracle(KeptOracle, oracles.BayesianOptimizationOracle):
    """Draws where a Gaussian process expects the most."""

    def populate_space(self, trial_id):
        response = super().populate_space(trial_id)
        if response["status"] == RUNNING and self._duplicate(response["values"]):
            values = self._random_values()  # the process knows of no budget
            return {"status": RUNNING, "values": values} if values else {"status": STOPPED}
        return response


class GridOracle(KeptOracle, keras_tuner.Oracle):
    """Every combination, in order; of a field without a step ten values.

    KerasTuner's own keeps the combinations that follow in no file, and ends early when it is started again.
    """

    def begin(self, *args, **options):
        super().begin(*args, **options)
        self._combinations = combinations(self.get_space())

    def populate_space(self, trial_id):
        for values in self._combinations:
            if self.admits(values):
                return {"status": RUNNING, "values": values}
        return {"status": STOPPED}


def combinations(space, values=None, position=0):
    """Every combination of the values of a `keras_tuner.HyperParameters`, each a dict of the active ones."""
    values = values or {}
    if position == len(space.space):
        yield dict(values)
        return
    entry = space.space[position]
    space.values = dict(values)
    if not space.is_active(entry):
        yield from combinations(space, values, position + 1)
        return
    for value in entry.values:
        yield from combinations(space, {**values, entry.name: value}, position + 1)


def make_oracle(tuner, space, seed, max_trials=None, max_epochs=1, settings=""):
    """An oracle by name.

    Args:
        tuner: one of `TUNERS`.
        space: `SearchSpace`.
        seed: int.
        max_trials: int, or None: until the space is exhausted; for hyperband, one pass over its brackets.
        max_epochs: int, of hyperband.
        settings: text that the space carries to the workers.

    Raises: UserError: if the name is unknown. MissingExtra: for bayesian without scipy.
    """
    if tuner not in TUNERS:
        raise UserError(f"tuner must be one of {', '.join(TUNERS)}. Received tuner={tuner!r}.")
    hyperparameters = space.hyperparameters()
    hyperparameters.Fixed(SETTINGS, settings)
    options = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "hyperparameters": hyperparameters,
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": seed + 1,  # KerasTuner takes 0 for none
    }
    if tuner == "hyperband":
        iterations = 1 if max_trials is None else None  # None: again and again
        oracle = HyperbandOracle(max_epochs=max_epochs, hyperband_iterations=iterations, **options)
    elif tuner == "bayesian":
        try:
            oracle = BayesianOracle(**options)
        except ImportError as error:
            raise missing_extra("tuner='bayesian'", "scipy", "tune") from error
    else:
        oracle = {"random": RandomOracle, "grid": GridOracle}[tuner](**options)
    oracle.max_trials = max_trials
    oracle.verbose = 0
    return oracle


def _plain(values):
    """A trial's values for the journal, without what travels with them."""
    return {name: value for name, value in values.items() if name not in (RECORD, SETTINGS)}
