"""Runs as data, and the loop that trains those that are not finished yet."""

import dataclasses
import logging
import pathlib
import re

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.errors import UserError
from dirac_keras.experiments.side_by_side import train_side_by_side
from dirac_keras.files.atomic import write_text
from dirac_keras.models.family import find_family
from dirac_keras.training import train
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.run_directory import RunDirectory

logger = logging.getLogger("dirac_keras")

DIVERGED = "diverged.txt"
# What `--quick` makes of a run: every step once, nothing learned.
QUICK = {"epochs": 1, "max_train": 256, "max_test": 128, "batch_size": 64}
QUICK_DEPTH, QUICK_UNITS = 4, 16  # of dense networks
QUICK_WIDTH = 0.25  # of convolutional ones


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of an experiment.

    Attributes:
        name: of its folder; two entries that share a run give it the same name.
        fields: dict, those of `TrainConfig`.
        paper: dict of the figures the paper gives for it, such as `{"test_error": 5.48}` in percent; may be empty.
        title: of its row in a table.
        series: of its curve in a picture.
        full: dict, the fields of the paper's own recipe where `fields` have a shorter one.
        full_name: of its folder with `full`; entries that train the same then share it. Default: `name`.
        only_full: bool, whether it is left to `full_runs`, as it takes too long.
    """

    name: str
    fields: dict
    paper: dict = dataclasses.field(default_factory=dict)
    title: str = ""
    series: str = ""
    full: dict = dataclasses.field(default_factory=dict)
    full_name: str = ""
    only_full: bool = False

    def config(self, **overrides):
        """The run's `TrainConfig`; overrides that are None are passed over, a seed is added to the run's own."""
        given = {name: value for name, value in overrides.items() if value is not None}
        if "seed" in given:
            given["seed"] += self.fields.get("seed", 0)
        return TrainConfig.from_mapping({**self.fields, **given})


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A table or a figure of a paper.

    Attributes:
        name: of it on the command line.
        title: what it shows.
        source: where in the paper.
        runs: tuple of `Run`.
        report: function `(experiment, results, folder) -> list of lines`, which writes its figures to `folder`;
            results are `[(run, RunDirectory), ...]`.
        side_by_side: bool, whether runs that differ in their seed alone are trained in one step
            (`train_side_by_side`).
    """

    name: str
    title: str
    source: str
    runs: tuple
    report: object
    side_by_side: bool = False


def quick_runs(experiment):
    """The runs of an experiment cut down to a few steps on small networks; those that become the same, once."""
    cut_down = {}
    for run in map(_quick, experiment.runs):
        cut_down.setdefault(tuple(sorted(run.fields.items())), run)
    return tuple(cut_down.values())


def short_runs(experiment):
    """The runs of an experiment but those that are `only_full`."""
    return tuple(run for run in experiment.runs if not run.only_full)


def full_runs(experiment):
    """The runs of an experiment with the paper's own recipe and epochs."""
    return tuple(
        dataclasses.replace(run, name=run.full_name or run.name, fields={**run.fields, **run.full})
        for run in experiment.runs
    )


def _quick(run):
    fields = {**run.fields, **QUICK}
    for name in ("phase_out_start", "phase_out_end"):
        if fields.get(name):
            fields[name] = QUICK["epochs"] / 2
    config = TrainConfig.from_mapping(fields)
    layout = find_family(config.family).layout(config.layout)
    if layout.size == "units":
        fields.update(depth=min(config.depth, QUICK_DEPTH), units=QUICK_UNITS)
    elif layout.size == "width":
        fields.update(depth=layout.smallest_depth(), width=QUICK_WIDTH)
    return dataclasses.replace(run, fields=fields)


def run_all(runs, workdir, console=None, side_by_side=False, download=False, **overrides):
    """Train the runs that are not finished in `workdir/NAME`; interrupted ones are resumed.

    A run that diverges is part of what an experiment shows: `diverged.txt` records it, and the next run follows.

    Args:
        runs: of `Run`.
        workdir: folder above the runs' folders.
        console: see `train`.
        side_by_side: bool, whether runs that differ in their seed alone are trained in one step.
        download: bool, whether to fetch a data set that is absent.
        overrides: fields of `TrainConfig` for all runs, such as `data_dir`; None leaves a run's own.

    Returns: `[(Run, RunDirectory), ...]`.
    Raises: ValueError: if the data are absent, or a folder holds another run.
    """
    results, loaded = [], {}
    if side_by_side:
        _train_groups(runs, pathlib.Path(workdir), console, download, overrides)
    for number, run in enumerate(runs, start=1):
        config = run.config(**overrides)
        directory = RunDirectory(pathlib.Path(workdir) / run.name)
        logger.info("run %d of %d: %s", number, len(runs), run.name)
        if not _is_done(directory, config):
            try:
                train(config, _splits(config, loaded, download), directory.path, console=console)
            except TrainingDiverged as error:
                logger.warning("%s: %s", run.name, error)
                write_text(directory.path / DIVERGED, f"{error}\nrun: {directory.record().run}\n")
        results.append((run, directory))
    return results


def _is_done(directory, config):
    """Whether the folder holds this very run, at its end; `train` would read its model, which takes seconds."""
    return (directory.is_finished() or diverged(directory)) and directory.read_config() == config


def _train_groups(runs, workdir, console, download, overrides):
    """Train unfinished runs that differ in their seed alone in one step; what is left is for `train`."""
    groups, loaded = {}, {}
    for run in runs:
        if not RunDirectory(workdir / run.name).is_finished():
            config = run.config(**overrides)
            groups.setdefault(dataclasses.replace(config, seed=0), []).append((run.name, config))
    groups = [group for group in groups.values() if len(group) > 1]
    for number, group in enumerate(groups, start=1):
        names, configs = zip(*group, strict=True)
        logger.info("group %d of %d: %s", number, len(groups), ", ".join(names))
        splits = _splits(dataclasses.replace(configs[0], seed=0), loaded, download)
        seconds = train_side_by_side(configs, splits, [workdir / name for name in names], console)
        logger.info("%d networks in %.0f s: %.0f runs an hour", len(group), seconds, 3600 * len(group) / seconds)


def diverged(directory):
    """Whether the run in a `RunDirectory` ended without a number for its loss: its `diverged.txt` says so of this run.

    Raises: ValueError: if that file is another run's.
    """
    path = directory.path / DIVERGED
    if not path.exists():
        return False
    try:
        found = re.search(r"^run: (\w+)$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError as error:
        raise UserError(f"path: {path} cannot be read: {error.strerror or error}.") from error
    ours = directory.record().run
    if ours is not None and (found is None or found[1] != ours):  # 0.1.0 and before wrote no identifier
        raise UserError(f"path: {path} is of another run than the folder. Move it elsewhere.")
    return True


def _splits(config, loaded, download):
    """The data of a config; runs one after another on the same data share them."""
    from pipelines import load_splits

    arguments = config.data_arguments()
    key = tuple(arguments.values())
    if key not in loaded:
        loaded.clear()  # one data set in memory
        loaded[key] = load_splits(**arguments, download=download)
    return loaded[key]
