"""Which entries and runs are meant: names are checked, and the nearest ones are named."""

import dataclasses
import re

from dirac_keras.errors import UserError, did_you_mean
from dirac_keras.experiments.runs import full_runs, quick_runs, short_runs

SHORT, QUICK, FULL = "short", "quick", "full"


@dataclasses.dataclass(frozen=True)
class Selection:
    """What of an entry is to be trained, and how long.

    Attributes:
        length: `"short"`, `"full"` (the paper's recipe and epochs) or `"quick"` (a few steps of small networks).
        seeds: int, number of seeds of each run, or a sequence of them; None: each run's own.
        names: tuple of names of runs, with a seed or without; empty: all.
    """

    length: str = SHORT
    seeds: int | tuple | None = None
    names: tuple = ()

    def every_run(self, experiment):
        """The runs of an experiment with their seeds, of this length."""
        if self.length == QUICK:
            return quick_runs(experiment)
        if self.length == FULL:
            return full_runs(experiment, self.seeds)
        return short_runs(experiment, self.seeds)

    def runs(self, experiment):
        """Those of `every_run` that were asked for."""
        found = self.every_run(experiment)
        if not self.names:
            return found
        return tuple(run for run in found if {run.name, run.network} & {*self.names})

    def left_to_full(self, experiment):
        """Titles of the runs that are trained in full only, where that was not asked for."""
        if self.length != SHORT or self.names:
            return []
        return [run.title for run in experiment.runs if run.only_full]


def find_entries(entries, only=(), selection=Selection()):
    """The entries that are asked for, each with a run that is asked for.

    Args:
        entries: dict, name -> `Experiment`.
        only: names of entries; none: all.
        selection: `Selection`.

    Returns: dict, name -> `Experiment`.
    Raises: UserError: for a name of an entry or of a run that there is none of, with the nearest names.
    """
    for name in only:
        if name not in entries:
            raise UserError(f"`only` must name a table or figure. Received {name!r}. {nearest(name, entries)}")
    chosen = {name: entries[name] for name in only or entries}
    if not selection.names:
        return chosen
    known = {}  # name of a run, with its seed and without -> None
    for experiment in chosen.values():
        for run in selection.every_run(experiment):
            known |= {run.network: None, run.name: None}
    for name in selection.names:
        if name not in known:
            why = _other_seed(name, known) or _other_entry(name, entries, selection)
            why = why or _other_length(name, chosen, selection) or nearest(name, known)
            raise UserError(f"`run` must name a run. Received {name!r}. {why}")
    return {name: experiment for name, experiment in chosen.items() if selection.runs(experiment)}


def _other_seed(name, known):
    """The seeds of a run, if it is one of a seed that was not asked for."""
    network = re.sub(r"-seed\d+$", "", name)
    if network == name or network not in known:
        return ""
    seeds = [one.removeprefix(f"{network}-seed") if one != network else "0" for one in known if _is_of(one, network)]
    return f"Of {network} there are the seeds {', '.join(seeds)}; `seeds` takes others, such as 0,7."


def _is_of(name, network):
    return re.fullmatch(rf"{re.escape(network)}(-seed\d+)?", name) is not None


def _other_entry(name, entries, selection):
    """The entries whose run it is, where others alone were asked for."""
    found = [entry for entry, experiment in entries.items() if _has(experiment, name, selection)]
    return f"It is a run of {', '.join(found)}." if found else ""


def _other_length(name, entries, selection):
    """Where a run is, if it is one of the runs in full or of the short ones."""
    lengths = {SHORT: "It is a run without `full`.", FULL: "It is a run with `full`."}
    if selection.length == QUICK:
        lengths = {SHORT: "It is a run without `quick`, which trains one of those that are the same when cut down."}
    for length, text in lengths.items():
        every = dataclasses.replace(selection, length=length)
        if length != selection.length and any(_has(experiment, name, every) for experiment in entries.values()):
            return text
    return ""


def _has(experiment, name, selection):
    return any(name in (run.name, run.network) for run in selection.every_run(experiment))


def nearest(name, known, most=3):
    """A sentence with the names that are like one that is not known, or with some of all."""
    known = list(known)
    return did_you_mean(name, known, most) or f"There are {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}."
