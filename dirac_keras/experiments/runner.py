"""The loop that trains the runs of an experiment that are not finished yet."""

import dataclasses
import logging
import pathlib

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.distribution import Placement
from dirac_keras.experiments.budget import Budget
from dirac_keras.experiments.data import NoData, load
from dirac_keras.experiments.endings import has_ended, record_divergence
from dirac_keras.experiments.merging import check_merged
from dirac_keras.experiments.side_by_side import splits_of, train_side_by_side
from dirac_keras.files.amounts import counted
from dirac_keras.training import train, train_seeds
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.stepping.execution import Execution
from dirac_keras.training.stepping.interruption import TrainingInterrupted

logger = logging.getLogger("dirac_keras")
TRAIN_IMAGES = 60_000  # of the training error at the end: all of every data set but ImageNet


def run_all(runs, workdir, console=None, side_by_side=False, download=False, account=None, budget=None, **overrides):
    """Train the runs that are not finished in `workdir/NAME`; interrupted ones are resumed.

    A run that diverges is part of what an experiment shows: `diverged.txt` records it, and the next run follows.

    Args:
        runs: of `Run`.
        workdir: folder above the runs' folders.
        console: see `train`.
        side_by_side: bool, whether runs that differ in their seed alone are trained in one step; where many steps are
            compiled together (an accelerator under JAX), as one program, see `train_seeds`.
        download: bool, whether to fetch a data set that is absent.
        account: `Account` that takes the runs whose data cannot be read, and those that the budget leaves. None: data
            that cannot be read are an error.
        budget: `Budget` that has been entered, or None.
        overrides: fields of `TrainConfig` for all runs, such as `data_dir`; None leaves a run's own.

    Returns: `[(Run, RunDirectory), ...]` of the runs that have ended.
    Raises: ValueError: if the data are absent, or a folder holds another run.
    """
    loop = _Loop(pathlib.Path(workdir), console, download, account, budget or Budget(), overrides)
    waiting = [run for run in runs if not loop.is_done(run)]
    if side_by_side:
        for group in loop.groups(waiting):
            loop.attempt(group, loop.train_group, "side by side")
    for number, run in enumerate(waiting, start=1):
        if not has_ended(loop.directory(run)):
            loop.attempt([run], loop.train_one, f"run {number} of {len(waiting)}")
    results = [(run, loop.directory(run)) for run in runs]
    ended = [(run, directory) for run, directory in results if has_ended(directory)]
    if account is not None:
        account.ended += len(ended)
    return ended


@dataclasses.dataclass
class _Loop:
    """What the runs of one call share; the fields are arguments of `run_all`.

    Attributes:
        loaded: dict of one data set: `Splits` by the arguments that read it.
    """

    workdir: pathlib.Path
    console: object
    download: bool
    account: object
    budget: Budget
    overrides: dict
    loaded: dict = dataclasses.field(default_factory=dict)

    def directory(self, run):
        return RunDirectory(self.workdir / run.name)

    def config(self, run):
        return run.config(**self.overrides)

    def is_done(self, run):
        """Whether the folder holds this very run, at its end; `train` would read its model, which takes seconds."""
        directory = self.directory(run)
        return check_merged(directory, self.config(run)) and has_ended(directory)

    def attempt(self, runs, action, label):
        """Do `action(runs)` unless the budget is spent or their data are absent; then the account has them."""
        if self.budget.is_spent:
            self._leave(runs)
            return
        data = self.config(runs[0]).data
        if self.account is not None and data in self.account.absent:
            self.account.absent[data][1].extend(run.name for run in runs)
            return
        logger.info("%s: %s", label, ", ".join(run.name for run in runs))
        try:
            action(runs)
        except TrainingInterrupted:
            if not self.budget.is_spent:
                raise
            self._leave([run for run in runs if not has_ended(self.directory(run))])
        except NoData as error:
            if self.account is None:
                raise error.__cause__ from None
            self.account.absent[data] = (str(error.__cause__), [run.name for run in runs])

    def _leave(self, runs):
        if self.account is not None:
            known = {*self.account.left}
            self.account.left += [run.name for run in runs if run.name not in known]

    def train_one(self, runs):
        (run,), directory = runs, self.directory(runs[0])
        config = self.config(run)
        try:
            train(config, self.splits(config), directory.path, console=self.console, evaluate_train=TRAIN_IMAGES)
        except TrainingDiverged as error:
            logger.warning("%s: %s", run.name, error)
            record_divergence(directory, error)

    def groups(self, runs):
        """Lists of runs that differ in their seed alone, of several each."""
        groups = {}
        for run in runs:
            groups.setdefault(dataclasses.replace(self.config(run), seed=0), []).append(run)
        return [group for group in groups.values() if len(group) > 1]

    def train_group(self, runs):
        configs = [self.config(run) for run in runs]
        splits = splits_of(configs, self.splits)
        paths = [self.directory(run).path for run in runs]
        if Execution().in_chunks(Placement("one")):
            self._train_as_one_program(configs, splits, paths)
            return
        seconds = train_side_by_side(configs, splits, paths, self.console)
        logger.info(
            "%s in %.0f s: %.0f runs an hour", counted(len(runs), "network"), seconds, 3600 * len(runs) / seconds
        )

    def _train_as_one_program(self, configs, splits, paths):
        seeds = [config.seed for config in configs]
        try:
            train_seeds(configs[0], splits, paths, seeds, self.console, evaluate_train=TRAIN_IMAGES)
        except TrainingDiverged as error:
            # Its neighbours are none the worse: each goes on alone from the last epoch that all have saved.
            logger.warning("of %d networks one diverged (%s): they are trained one after another", len(seeds), error)

    def splits(self, config):
        """The data of a config; runs one after another on the same data share them. Raises: NoData."""
        decides = config.validation or config.data == "coil20"  # whose parts the seed draws
        arguments = config.data_arguments() | ({} if decides else {"seed": 0})
        key = tuple(arguments.values())
        if key not in self.loaded:
            self.loaded.clear()  # one data set in memory
            self.loaded[key] = load(**arguments, download=self.download)
        return self.loaded[key] if decides else dataclasses.replace(self.loaded[key], seed=config.seed)
