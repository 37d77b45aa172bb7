"""Run folders as they are found, perhaps copied from elsewhere: which are an entry's runs, and why others are not."""

import dataclasses
import re

from dirac_keras.errors import UserError
from dirac_keras.experiments.endings import has_ended
from dirac_keras.training.folder.directory import WHERE_ONLY, RunDirectory
from dirac_keras.version import __version__


def seeds_there(folder, network):
    """Seeds of the folders `NETWORK`, `NETWORK-seed1`, ... under a folder, in their order."""
    pattern = re.compile(rf"{re.escape(network)}(?:-seed([1-9]\d*))?")
    found = (pattern.fullmatch(path.name) for path in folder.glob(f"{glob_escape(network)}*") if path.is_dir())
    return sorted(int(match[1] or 0) for match in found if match)


def glob_escape(text):
    """A text that `Path.glob` takes for itself."""
    return re.sub(r"([*?[])", r"[\1]", text)


def check_merged(directory, config):
    """Raise UserError if a folder holds another run than that of a config, or one of another version, with the reason.

    Args:
        directory: `RunDirectory`, of a run that has ended or not.
        config: `TrainConfig`.

    Returns: bool, whether it holds that run.
    """
    if not directory.config.exists():
        return False
    reason = difference(directory, config)
    if reason is not None:
        raise UserError(
            f"{directory.path} {reason}. Move that folder elsewhere, or give another `workdir`; "
            "its results are not mixed with these."
        )
    return True


def check_folders(experiments, workdir, selection, **overrides):
    """`check_merged` of all runs that are asked for: a folder copied in by mistake costs no hours of training.

    Args:
        experiments: of `Experiment`.
        workdir: `pathlib.Path`, folder above the runs' folders.
        selection: `Selection`.
        overrides: fields of `TrainConfig` for all runs; None leaves a run's own.
    """
    for experiment in experiments:
        for run in selection.runs(experiment):
            directory = RunDirectory(workdir / run.name)
            if directory.config.exists():  # a config of each of thousands of runs would take seconds
                check_merged(directory, run.config(**overrides))


def difference(directory, config):
    """Why a folder is not the run of a config, as text after the folder's name; None if it is."""
    try:
        version = directory.record().versions.get("dirac_keras")
        there = directory.read_config()
    except (UserError, TypeError) as error:
        return f"holds a run that this version cannot read: {error}".rstrip(".")
    if version != __version__:
        return f"holds a run of dirac_keras {version}; this is {__version__}"
    different = fields_apart(there, config)
    if different:
        return f"holds another run ({'; '.join(different)})"
    return None


def fields_apart(there, here, without=WHERE_ONLY):
    """Texts `name=value there, value here` of the fields in which two `TrainConfig`s differ."""
    return [
        f"{field.name}={getattr(there, field.name)!r} there, {getattr(here, field.name)!r} here"
        for field in dataclasses.fields(here)
        if field.name not in without and getattr(there, field.name) != getattr(here, field.name)
    ]


def trained_as(config, without=WHERE_ONLY):
    """All of a `TrainConfig` that decides what is computed, as a text: the same of the same run on any machine."""
    return repr({name: value for name, value in config.to_dict().items() if name not in without})


def gather(runs, workdir, **overrides):
    """What of some runs has ended in a folder, of every seed that is there: `[(Run, RunDirectory), ...]`, and notes.

    Folders of another version or configuration are left out; the notes name them, and why.

    Args:
        runs: of `Run`, as `with_seeds` gives them.
        workdir: `pathlib.Path`, folder above the runs' folders.
        overrides: fields of `TrainConfig` for all runs; None leaves a run's own.
    """
    found, notes = [], []
    for run in {run.network or run.name: run for run in reversed(runs)}.values():
        for one in _every_seed(run, workdir):
            directory = _Here(workdir / one.name, overrides.get("data_dir"))
            if not (directory.config.exists() and has_ended(directory)):
                continue
            reason = difference(directory, one.config(**overrides))
            if reason is None:
                found.append((one, directory))
            else:
                notes.append(f"{one.name} is left out: it {reason}.")
    order = {run.network or run.name: number for number, run in reversed(list(enumerate(runs)))}
    return sorted(found, key=lambda pair: order[pair[0].network or pair[0].name]), notes


class _Here(RunDirectory):
    """A folder whose data lie where this machine has them, not where the one that trained had."""

    def __init__(self, path, data_dir):
        super().__init__(path)
        self._data_dir = data_dir

    def read_config(self):
        return dataclasses.replace(super().read_config(), data_dir=self._data_dir)


def _every_seed(run, workdir):
    if not run.network:
        return [run]
    return [
        dataclasses.replace(
            run, name=f"{run.network}-seed{seed}" if seed else run.network, fields={**run.fields, "seed": seed}
        )
        for seed in seeds_there(workdir, run.network)
    ]
