"""`dirac-keras reproduce --list`: the runs, their length, and how long they take here."""

from dirac_keras.cli.speech.json_option import emit, is_quiet
from dirac_keras.cli.speech.output import print_rows, say
from dirac_keras.distribution import Placement
from dirac_keras.experiments.costs import CACHE, Costs
from dirac_keras.experiments.endings import has_ended
from dirac_keras.experiments.merging import difference
from dirac_keras.files.amounts import counted
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.stepping.execution import Execution


def list_runs(chosen, folders, selection, overrides, measured, as_json):
    """Print the runs of entries, a line a network.

    Args:
        chosen: dict, paper -> name -> `Experiment`.
        folders: dict, paper -> `pathlib.Path` of its runs.
        selection: `Selection`.
        overrides: fields of `TrainConfig` for all runs; None leaves a run's own.
        measured: bool, whether to estimate the time.
        as_json: see `json_option`.
    """
    rows = {
        (paper, entry): entry_rows(paper, experiment, folders[paper], selection, overrides, measured)
        for paper, entries in chosen.items()
        for entry, experiment in entries.items()
    }
    emit(as_json, [row for some in rows.values() for row in some])
    if is_quiet(as_json):
        return
    for (paper, entry), some in rows.items():
        _print(paper, chosen[paper][entry], some)
    _print_sum(rows)


def entry_rows(paper, experiment, folder, selection, overrides, measured):
    """A dict for each network of an entry; one without runs has one, of no epochs.

    Returns: list of dicts with paper, entry, name, title, artefacts, epochs, seeds (a number), data, train_images
        (None: all), done (seeds that have ended), minutes_per_seed and estimated_minutes (of all seeds, in one step
        where they are trained so, else one after another; None where it is not known).
    """
    common = {"paper": paper, "entry": experiment.name, "artefacts": list(experiment.artefacts)}
    networks = {}
    for run in selection.runs(experiment):
        networks.setdefault(run.network, []).append(run)
    if not experiment.runs:
        nothing = {"name": experiment.name, "title": experiment.title, "epochs": 0, "seeds": 0, "data": ""}
        return [{**common, **nothing, "train_images": None, "done": 0, "minutes_per_seed": 0, "estimated_minutes": 0}]
    costs = Costs(folder / CACHE) if measured else None
    beside = measured and experiment.side_by_side and not Execution().in_chunks(Placement("one"))
    rows = []
    for name, runs in networks.items():
        config = runs[0].config(**overrides)
        together = len(runs) if beside else 1
        minutes = None if costs is None else costs.minutes(config, together)
        minutes = None if minutes is None else minutes / together
        rows.append(
            {
                **common,
                "name": name,
                "title": runs[0].title,
                "epochs": config.epochs,
                "seeds": len(runs),
                "data": config.data,
                "train_images": config.max_train,
                "done": sum(_is_done(folder, run, overrides) for run in runs),
                "minutes_per_seed": None if minutes is None else round(minutes, 2),
                "estimated_minutes": None if minutes is None else round(minutes * len(runs), 2),
            }
        )
    return rows


def _is_done(folder, run, overrides):
    """Whether a folder holds this run, at its end: one of another length or version is not it."""
    directory = RunDirectory(folder / run.name)
    is_there = directory.config.exists() and has_ended(directory)
    return is_there and difference(directory, run.config(**overrides)) is None


def _print(paper, experiment, rows):
    runs, done = sum(row["seeds"] for row in rows), sum(row["done"] for row in rows)
    left = sum(run.only_full for run in experiment.runs)
    texts = [experiment.source, counted(runs, "run"), *([f"{done} done"] if done else [])]
    texts += [f"{counted(left, 'network')} with --full only"] if left and len(experiment.runs) > len(rows) else []
    say(f"{experiment.name}: {experiment.title} ({'; '.join(texts)})")
    if experiment.runs and rows:
        print_rows(
            f"{paper} {experiment.name}",
            [
                {
                    "run": row["name"],
                    "epochs": row["epochs"],
                    "seeds": row["seeds"],
                    "done": row["done"],
                    "data": row["data"],
                    "images": f"{row['train_images']:,}" if row["train_images"] else "all",
                    "estimate": duration_text(row["estimated_minutes"]),
                }
                for row in rows
            ],
        )


def _print_sum(rows):
    """The time of all, each run once, though several entries share it."""
    once = {(row["paper"], row["name"]): row for some in rows.values() for row in some}
    known = [row["estimated_minutes"] for row in once.values() if row["estimated_minutes"] is not None]
    if known and sum(known):
        say(
            f"{counted(sum(row['seeds'] for row in once.values()), 'run')} of {counted(len(once), 'network')}, about "
            f"{duration_text(sum(known))} on this machine, one network after another."
        )


def duration_text(minutes):
    """`"12 min"`, `"3.4 h"`, `"2.1 days"`; empty for None."""
    if minutes is None:
        return ""
    if minutes < 90:
        return f"{minutes:.1f} min" if minutes < 10 else f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"
