"""Run folders under a folder, each with the entries whose run it is, or the reason why it is none's."""

import dataclasses
import re

from dirac_keras.errors import UserError
from dirac_keras.experiments.endings import DIVERGED
from dirac_keras.experiments.ledger.ended import Ended, read_ended
from dirac_keras.experiments.merging import fields_apart, trained_as
from dirac_keras.experiments.runs import Run, full_runs, short_runs
from dirac_keras.files.amounts import counted
from dirac_keras.training.folder.directory import WHERE_ONLY, RunDirectory

FREE = (*WHERE_ONLY, "seed", "epochs", "device")  # a run of other epochs is still the entry's; its row says so


@dataclasses.dataclass(frozen=True)
class Found:
    """A run folder that belongs to an entry.

    Attributes:
        paper, entry: names.
        run: `Run` of the entry, without a seed.
        is_full: whether it has the paper's recipe.
        ended: `Ended`.
    """

    paper: str
    entry: str
    run: Run
    is_full: bool
    ended: Ended


@dataclasses.dataclass
class Collection:
    """What was found under a folder.

    Attributes:
        found: list of `Found`; a folder of a run that several entries share is there once for each.
        folders: int, run folders that count.
        left_out: list of texts: the folders that do not count, each with the reason.
        unfinished: list of names of folders whose training has not ended.
    """

    found: list = dataclasses.field(default_factory=list)
    folders: int = 0
    left_out: list = dataclasses.field(default_factory=list)
    unfinished: list = dataclasses.field(default_factory=list)

    def lines(self):
        """What was found and what was not used, for the user."""
        lines = [f"{counted(self.folders, 'run')}, {len(self.unfinished)} not finished, {len(self.left_out)} left out"]
        return [*lines, *(f"left out: {text}" for text in self.left_out)]


def collect(workdir, papers):
    """The `Collection` of a folder and of the folders under it.

    Args:
        workdir: `pathlib.Path`.
        papers: dict, paper -> name -> `Experiment`.
    """
    by_name = _runs_by_name(papers)
    collection, seen = Collection(), {}
    for path in sorted(workdir.rglob("config.json")):
        folder = path.parent
        name = folder.relative_to(workdir).as_posix()
        directory = RunDirectory(folder)
        if not directory.summary.exists() and not (folder / DIVERGED).exists():
            collection.unfinished.append(name)
            continue
        try:
            ended = read_ended(directory)
            matches = _matches(folder.name, ended, by_name)
        except UserError as error:
            collection.left_out.append(f"{name}: {error}")
            continue
        twin = seen.setdefault((trained_as(ended.config), ended.version), name)
        if twin != name:
            collection.left_out.append(f"{name}: it is the same run, with the same seed, as {twin}, which counts.")
            continue
        collection.found += matches
        collection.folders += 1
    return collection


def _runs_by_name(papers):
    """Name of a network -> `[(paper, entry, Run, is_full), ...]`; those with the paper's recipe first."""
    found = {}
    for paper, entries in papers.items():
        for entry, experiment in entries.items():
            for is_full, expand in ((True, full_runs), (False, short_runs)):
                for run in expand(experiment, 1):
                    found.setdefault(run.network, []).append((paper, entry, run, is_full))
    return found


def _matches(name, ended, by_name):
    """The `Found` of a folder. Raises: UserError: if there are none, with the reason."""
    network = re.sub(r"-seed[1-9]\d*$", "", name)
    candidates = by_name.get(network) or by_name.get(name)
    if not candidates:
        raise UserError("no entry has a run of this name.")
    matches, nearest = {}, None
    for paper, entry, run, is_full in candidates:
        different = fields_apart(ended.config, run.config(epochs=ended.config.epochs), FREE)
        if not different:
            matches.setdefault((paper, entry), Found(paper, entry, run, is_full, ended))
        elif nearest is None or len(different) < len(nearest):
            nearest = different
    if not matches:
        raise UserError(f"it is another run than the entry's ({'; '.join(nearest)}).")
    own = ended.config.epochs
    return [_in_its_length(found, candidates, own) for found in matches.values()]


def _in_its_length(found, candidates, epochs):
    """Where the short run and that in full differ in their epochs alone: the one whose epochs these are."""
    for paper, entry, run, is_full in candidates:
        is_ours = (paper, entry) == (found.paper, found.entry)
        if is_ours and run.config().epochs == epochs and not fields_apart(found.ended.config, run.config(), FREE):
            return dataclasses.replace(found, run=run, is_full=is_full)
    return found
