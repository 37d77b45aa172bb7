"""The loop that trains the runs of an experiment that are not finished yet."""

import dataclasses
import logging
import pathlib

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.experiments.endings import has_ended, record_divergence
from dirac_keras.experiments.side_by_side import train_side_by_side
from dirac_keras.training import train
from dirac_keras.training.run_directory import RunDirectory

logger = logging.getLogger("dirac_keras")


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
                record_divergence(directory, error)
        results.append((run, directory))
    return results


def _is_done(directory, config):
    """Whether the folder holds this very run, at its end; `train` would read its model, which takes seconds."""
    return has_ended(directory) and directory.read_config() == config


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


def _splits(config, loaded, download):
    """The data of a config; runs one after another on the same data share them."""
    from pipelines import load_splits

    arguments = config.data_arguments()
    key = tuple(arguments.values())
    if key not in loaded:
        loaded.clear()  # one data set in memory
        loaded[key] = load_splits(**arguments, download=download)
    return loaded[key]
