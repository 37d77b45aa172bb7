"""`search`: try trainings of a space under a budget, and keep what each comes to."""

import contextlib
import dataclasses
import logging
import os
import pathlib
import threading
import time

from rich.console import Console

from dirac_keras.brief import brief
from dirac_keras.distribution import split_cpu
from dirac_keras.errors import RunError, UserError
from dirac_keras.files.lock import locked
from dirac_keras.training.checks import shortened
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.stepping.interruption import Interruption, TrainingInterrupted
from dirac_keras.training.tasks import require_classes
from tuning.budget import Budget, Cost, CostMeter, check_sizes, check_that_something_fits
from tuning.fleet.chief import run_chief
from tuning.fleet.protocol import LEASE_SECONDS, parse_address
from tuning.folder import Listeners, SearchFiles, open_folder
from tuning.oracles import COMPLETED, make_oracle
from tuning.progress import SearchProgress, best_record
from tuning.settings import Settings
from tuning.trials import Data, TimeIsUp
from tuning.tuner import TrialTuner

logger = logging.getLogger("dirac_keras")
MOST_TRIALS = 100_000  # whose events a search reads again when it is resumed
WORKERS_PER_CORE = 4
DEFAULT_TRIALS = {"random": 20, "bayesian": 20, "hyperband": None, "grid": None}


@brief
@dataclasses.dataclass(frozen=True)
class SearchResult:
    """Attributes:
    records: list of dicts, one a trial, in the order of ending; see `run_trial`, with `trial`, `status`, `values`.
    best: dict, the record of the best trial; None if none has finished.
    best_config: `TrainConfig` of it, or None.
    num_rejected: int, candidates over the budget.
    why_stopped: text; empty if the search came to its end.
    workdir: `pathlib.Path`.
    """

    records: list
    best: dict | None
    best_config: TrainConfig | None
    num_rejected: int
    why_stopped: str
    workdir: pathlib.Path


def search(
    space,
    workdir,
    tuner="hyperband",
    max_trials=None,
    max_epochs=9,
    executions=1,
    seed=0,
    budget=None,
    time_limit=None,
    workers=None,
    chief=None,
    lease_seconds=LEASE_SECONDS,
    strategy="auto",
    logical_devices=None,
    max_gigabytes=None,
    overwrite=False,
    console=None,
    **data_options,
):
    """Search a space. Called again on the same folder it resumes that search; a finished one is read.

    Args:
        space: `SearchSpace`.
        workdir: folder of the search, made if absent: `trials.csv`, `best.toml`, `pareto.png`, `summary.json`,
            `journal.jsonl`, `trials/<number>/run<execution>` with each training, `tb/` for TensorBoard's HParams.
        tuner: random, grid, hyperband or bayesian.
        max_trials: int; None is 20 for random and bayesian, all for grid, one pass over the brackets for hyperband.
        max_epochs: int, of a trial.
        executions: int, trainings of each trial, with seeds `seed`, `seed + 1`, ...
        seed: int.
        budget: `Budget` on the folded network; None limits nothing.
        time_limit: seconds of this call; the trial that then runs is resumed by the next call.
        workers: int, processes that train on this machine; 1, the default, trains in this one.
        chief: `HOST:PORT` to hand trials out at, to workers elsewhere (`run_worker`); `workers` are then besides, by
            default 0.
        lease_seconds: silence of a worker after which its trial goes to the next, with `chief` or several `workers`.
        strategy: of each training, see `dirac_keras.distribution.open_strategy`; logical_devices: int, devices that the
            CPU is split into, or None.
        max_gigabytes: number, memory that a network or a training step may take by an estimate; None: this machine's.
        overwrite: whether to delete a search that is there: what it has written. Anything else there is an error.
        console: rich's, for the progress; None makes one.
        data_options: of `load_splits`, such as `download`.

    Returns: `SearchResult`.
    Raises: UserError: if an argument is wrong, nothing meets the budget, or the folder holds another search.
        RunError: if three trials in a row fail, or all do, no worker is left, or a trial is stopped by what is not its
            fault, such as a full disk: the trial is then open, and the same call resumes it.
        TrainingInterrupted: after SIGTERM or SIGINT; the same call resumes the search.
    """
    if max_trials is None:
        max_trials = DEFAULT_TRIALS.get(tuner)
    if workers is None:
        workers = 1 if chief is None else 0
    _check_counts(max_trials, time_limit, workers, chief, lease_seconds)
    _check_devices(strategy, logical_devices)
    workdir, console = pathlib.Path(workdir), console or Console()
    settings = Settings(
        space,
        tuner,
        max_epochs,
        executions,
        seed,
        budget or Budget(),
        strategy,
        logical_devices,
        is_endless=tuner == "hyperband" and max_trials is not None,
        max_gigabytes=max_gigabytes,
    )
    if logical_devices:
        split_cpu(logical_devices)
    oracle = make_oracle(tuner, space, seed, max_trials, max_epochs, settings.to_text())
    if max_trials is None:
        _check_length(tuner, oracle, space, max_epochs)
    if tuner == "hyperband":
        for family in space.families:  # what excludes a short training is found before the first one
            space.config(space.smallest(family), oracle.least_epochs())
    check_sizes(space, settings.budget, max_epochs, max_gigabytes=max_gigabytes)  # before the data are read
    data = Data(**data_options)
    with Interruption(), _quiet_training():
        splits = _check_batches(space, data, max_epochs, seed)
        require_classes(splits.spec, "a search, which compares accuracies,")
        if splits.validation() is None:
            raise UserError(
                "validation must be above 0, for trials are compared on it; on the test set, the best one's accuracy "
                f"would say nothing. Received validation={space.fixed.get('validation', 0)}."
            )
        spec = splits.spec
        with_latency, batch = settings.budget.max_latency_ms is not None, settings.budget.latency_batch
        limits = _KeptMeter(spec, with_latency, batch, max_gigabytes)
        check_that_something_fits(space, limits, settings.budget, max_epochs)  # before a folder is made or emptied
        with locked(workdir):
            journal = open_folder(workdir, settings, overwrite)
            limits.keep_in(journal)
            deadline = None if time_limit is None else time.monotonic() + time_limit
            is_alone = chief is None and workers == 1
            oracle.begin(
                journal,
                lambda values: _why_rejected(settings, limits, values),
                lease_seconds=0.0 if is_alone else lease_seconds,
                deadline=deadline,
            )
            meter = CostMeter(spec, batch=settings.budget.latency_batch)
            if limits.with_latency:
                meter.known = limits.known
            trainer = TrialTuner(oracle, settings, data, meter, workdir / "trials", deadline)
            oracle.replay()
            if oracle.records:
                count = len(oracle.records)
                logger.warning("resuming the search after %d trial%s", count, "" if count == 1 else "s")
            _say_what_is_missing(workdir, oracle)
            return _run(trainer, workdir, workers, chief, time_limit, console)


def _run(trainer, workdir, workers, chief, time_limit, console):
    oracle, settings = trainer.oracle, trainer.settings
    progress = SearchProgress(oracle, oracle.max_trials, oracle.deadline, console)
    files = SearchFiles(workdir, oracle, settings)
    oracle.listener = Listeners(files, progress)
    start, before = time.perf_counter(), len(oracle.records)
    try:
        if chief is None and workers == 1:
            trainer.on_epoch = progress.epoch_ended
            with contextlib.suppress(TimeIsUp):
                trainer.search()
        else:
            run_chief(trainer, workdir, chief, workers, time_limit)
            _measure_latencies(trainer)
    except TrainingInterrupted:
        console.print(
            f"interrupted: {len(oracle.records)} trials finished; start the same search again to resume it",
            highlight=False,
        )
        raise
    finally:
        progress.close()
        files.write_tables()
    if oracle.deadline is not None and time.monotonic() >= oracle.deadline:
        oracle.why_stopped = oracle.why_stopped or "the time is up"
    files.finish(console, time.perf_counter() - start, list(oracle.records.values())[before:])
    if oracle.has_failed:
        raise RunError(f"The search has stopped: {oracle.why_stopped}")
    best = best_record(oracle.records)
    if oracle.records and best is None:
        last = list(oracle.records.values())[-1]["reason"]
        raise RunError(f"The search has no result: each of its {len(oracle.records)} trials failed, the last: {last}")
    config = best and settings.space.config(best["values"], best["epochs"], best["seeds"][0])
    return SearchResult(list(oracle.records.values()), best, config, oracle.num_rejected, oracle.why_stopped, workdir)


def _say_what_is_missing(workdir, oracle):
    """A journal that ends too early looks like a search that was interrupted then; the trials' folders tell."""
    there = sum(folder.name.isdigit() for folder in (workdir / "trials").glob("*"))
    if there > len(oracle.trials):
        logger.warning(
            "%s knows %d of the %d trials in %s: its last lines are missing. The others are given out again; of those "
            "that are finished, the results are read",
            oracle.journal.path, len(oracle.trials), there, workdir / "trials",
        )  # fmt: skip


def _measure_latencies(trainer):
    """Time what workers have trained, one network after the other, now that nothing else runs."""
    oracle, settings = trainer.oracle, trainer.settings
    for record in oracle.records.values():
        if record["status"] == COMPLETED and record["latency_ms"] is None:
            config = settings.space.config(record["values"], record["epochs"], settings.seed)
            oracle.keep_latency(record["trial"], trainer.meter.of(config).latency_ms)


def _check_counts(max_trials, time_limit, workers, chief, lease_seconds):
    cores = os.cpu_count() or 1
    for name, value, least, most, instead in (
        ("max_trials", max_trials, 1, MOST_TRIALS, "End a longer search by `time_limit`."),
        ("workers", workers, 0 if chief else 1, WORKERS_PER_CORE * cores,
         f"This machine has {cores} cores; workers on others join a `chief`."),
    ):  # fmt: skip
        if value is not None and (not isinstance(value, int) or value < least):
            raise UserError(f"{name} must be a whole number, {least} or more. Received {name}={shortened(value)}.")
        if value is not None and value > most:
            raise UserError(f"{name} must be {most:,} or less. Received {name}={shortened(value)}. {instead}")
    if chief is not None:
        parse_address(chief, "chief")
    for name, value in (("time_limit", time_limit), ("lease_seconds", lease_seconds)):
        if value is not None and not 0 < value < threading.TIMEOUT_MAX:
            raise UserError(
                f"{name} must be above 0 seconds, and not more than {threading.TIMEOUT_MAX:.0f}. Received "
                f"{name}={shortened(value)}."
            )


def _check_devices(strategy, logical_devices):
    if logical_devices and strategy in ("one", "tpu"):
        raise UserError(
            f"`logical_devices` are for data_parallel and mirrored. Received {logical_devices} with "
            f"strategy={strategy!r}: leave one of them out."
        )


def _check_length(tuner, oracle, space, max_epochs):
    """Raise UserError if a search that tries all there is would try more than anybody can wait for."""
    if tuner == "grid":
        count, what = sum(map(space.num_points, space.families)), "combinations"
        instead = "Give fewer values, `max_trials`, or another `tuner`."
    elif tuner == "hyperband":
        count, what = oracle.trials_of_a_pass(), f"trials with max_epochs={max_epochs:,}"
        instead = "Lower `max_epochs`, or give `max_trials`."
    else:
        return
    if count > MOST_TRIALS:
        raise UserError(f"tuner={tuner} has {count:,} {what} to try; at most {MOST_TRIALS:,} are possible. {instead}")


def _check_batches(space, data, epochs, seed):
    """The splits of the first candidate. Raises: ValueError: if some candidate's batch is larger than the data."""
    splits = None
    for family in space.families:
        for values in (space.largest(family), space.smallest(family)):
            splits = data.of(space.config(values, epochs, seed))
    return splits


class _KeptMeter(CostMeter):
    """Measures for the budget, and keeps what it measures in the journal: measured again, a latency is another."""

    journal = None

    def keep_in(self, journal):
        """Take what the journal has, add what it has not."""
        kept = {event["network"]: Cost(**event["cost"]) for event in journal.events if event["event"] == "cost"}
        self.journal = journal
        for network, cost in self.known.items():
            if network not in kept:
                self._keep(network, cost)
        self.known |= kept

    def of(self, config):
        known = len(self.known)
        cost = super().of(config)
        if len(self.known) > known and self.journal is not None:
            self._keep(next(reversed(self.known)), cost)
        return cost

    def _keep(self, network, cost):
        self.journal.add("cost", network=network, cost=dataclasses.asdict(cost))


def _why_rejected(settings, meter, values):
    if not settings.budget.is_limited:
        return ""
    try:
        config = settings.space.config(values, settings.max_epochs)
    except UserError:
        return ""  # it is no network: its trial says why
    return settings.budget.exceeded(meter.of(config))


@contextlib.contextmanager
def _quiet_training():
    """What a single training logs is not what one looks at in a search."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
