"""KerasTuner's oracles with what they lack: a budget, a journal, workers that die, an end by the clock."""

import contextlib
import json
import time

import keras_tuner
from keras_tuner import oracles
from keras_tuner.engine import trial as trials

from dirac_keras.errors import check_choice, missing_extra
from tuning.records import COMPLETED, FAILED, parse_result
from tuning.space import without_prefixes

RUNNING, IDLE, STOPPED = "RUNNING", "IDLE", "STOPPED"
TUNERS = ("random", "grid", "hyperband", "bayesian")
OBJECTIVE = "val_accuracy"
RECORD = "record"  # the result as a text among a trial's values: KerasTuner's protocol carries no other
RELEASED = "released"  # the entry of a record that says why the worker cannot train: no fault of the trial's
SETTINGS = "settings"  # an entry of the space with one value, which workers read
MAX_FAILURES = 3  # in a row, until the search stops
MAX_DEATHS = 2  # workers that a trial may cost one call
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
        has_failed: bool, whether the search stopped because something went wrong.
        released: dict, name of a worker -> why it cannot train.
        error: exception that a call by a worker has raised, or None.
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
        self.has_failed, self.error, self.released = False, None, {}
        self.told_to_stop = set()
        self._heard, self._deaths, self._former_deaths = {}, {}, {}
        self._num_replayed = 0
        self._begun = time.monotonic()
        self._max_collisions = MAX_DRAWS
        self.max_consecutive_failed_trials = 10**9  # `end_trial` would raise in the middle of its work

    def replay(self):
        """Do again what the journal says, without training.

        Raises: UserError: if this oracle would have given out other trials.
        """
        listener, self.listener = self.listener, None
        for number, event in enumerate(list(self.journal.events)):
            try:
                self._do_again(number, event)
            except LookupError:  # no such trial or worker: only a journal without checksums comes here
                self.journal.refuse(number, f"does not follow from those above it: {json.dumps(event)}")
        self.listener = listener
        self._num_replayed = len(self.records)  # what made three trials fail may be mended since

    def _do_again(self, number, event):
        kind = event["event"]
        if kind == "create":
            trial = super().create_trial(event["worker"])
            drawn = _plain(trial.hyperparameters.values) if trial.status == RUNNING else "none"
            if drawn != event["values"] or int(trial.trial_id) != event["trial"]:
                self.journal.refuse(
                    number,
                    f"was changed, or was written by another version of KerasTuner: trial {event['trial']} "
                    f"would be {drawn}, but was {event['values']}",
                )
        elif kind == "end":
            if event["trial"] in self.records:
                raise LookupError
            self._settle(self.trials[self._id_of(event["trial"])], event["status"], event["record"])
        elif kind == "latency":
            self.records[event["trial"]]["latency_ms"] = event["latency_ms"]
        elif kind == "move":
            self.ongoing_trials[event["to"]] = self.ongoing_trials.pop(event["from"])
            self._former_deaths[event["trial"]] = self._former_deaths.get(event["trial"], 0) + event.get("death", False)
            self._forget(event["from"])

    @keras_tuner.synchronized
    def create_trial(self, tuner_id):
        with self._noting_errors():
            return self._create_trial(tuner_id)

    def _create_trial(self, tuner_id):
        self._heard[tuner_id] = time.monotonic()
        self._check_clock_and_failures()
        if not self.why_stopped:
            self._take_over(tuner_id)
        if self.why_stopped:
            return self._tell_to_stop(tuner_id)
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
        with self._noting_errors():
            self._end_trial(trial)

    def _end_trial(self, trial):
        number = int(trial.trial_id)
        record = parse_result(trial.hyperparameters.values.pop(RECORD), f"trial {number}: what its worker sends")
        if number in self.records:
            return  # by a worker that was thought dead: another has ended it
        if RELEASED in record:
            return self._release(trial.trial_id, record[RELEASED])
        status = COMPLETED if trial.status == COMPLETED else FAILED
        self.journal.add("end", trial=number, status=status, record=record)
        self._settle(self.trials[trial.trial_id], status, record)
        self._check_clock_and_failures()

    @contextlib.contextmanager
    def _noting_errors(self):
        """Keep what a worker's call has raised for the chief, to whom it matters more."""
        try:
            yield
        except Exception as error:
            self.error = error
            raise

    def _release(self, trial_id, reason):
        """The trial is open again, at once and to anybody else."""
        for tuner_id, trial in self.ongoing_trials.items():
            if trial.trial_id == trial_id:
                self.released[tuner_id] = reason
                self.give_up(tuner_id)

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
            self._fail(f"{MAX_FAILURES} trials in a row failed, the last: {last[-1]['reason']}")

    def _fail(self, why):
        self.why_stopped, self.has_failed = why, True

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
            number = int(trial.trial_id)
            # One that was not heard in this call may have worked for another.
            died = self.lease_seconds > 0 and other in self._heard and other not in self.released
            self._deaths[number] = deaths = self._deaths.get(number, 0) + died
            self._forget(other)
            self.journal.add(
                "move", trial=number, **{"from": other, "to": tuner_id}, **({"death": True} if died else {})
            )
            self.ongoing_trials[tuner_id] = self.ongoing_trials.pop(other)
            if deaths < MAX_DEATHS:
                return
            if self._former_deaths.get(number, 0) < MAX_DEATHS:
                # It may be the machine's memory, which others use too: once, that is no result of the trial's.
                return self._fail(
                    f"{deaths} workers died in trial {number}: killed for memory? It is open again. Use fewer "
                    f"`workers`, or start the same search again: a trial in which {MAX_DEATHS} more die has failed"
                )
            record = {"reason": f"{deaths + self._former_deaths[number]} workers died in it: out of memory?"}
            self.journal.add("end", trial=number, status=FAILED, record=record)
            self._settle(trial, FAILED, record)

    def _forget(self, tuner_id):
        self.tuner_ids.discard(tuner_id)
        self._heard.pop(tuner_id, None)
        self.released.pop(tuner_id, None)

    def _id_of(self, number):
        for trial_id in self.trials:
            if int(trial_id) == number:
                return trial_id
        raise LookupError(number)

    def save(self):
        """KerasTuner's own files are not written: nothing reads them, see `Journal`."""

    def _save_trial(self, trial):
        pass

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

    def least_epochs(self):
        """The epochs of the shortest trials."""
        return self._get_epochs(self._get_num_brackets() - 1, 0)

    def trials_of_a_pass(self):
        """How many trials one pass over the brackets has."""
        brackets = range(self._get_num_brackets())
        return sum(self._get_size(k, round_) for k in brackets for round_ in range(self._get_num_rounds(k)))


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
    check_choice("tuner", tuner, TUNERS)
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
