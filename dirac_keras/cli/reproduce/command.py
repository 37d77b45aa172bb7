"""`dirac-keras reproduce`: a paper's tables and figures, and the ledger of them all."""

import pathlib
import sys

import rich_click as click

from dirac_keras.cli.options import CONTEXT
from dirac_keras.cli.speech.json_option import emit, json_option
from dirac_keras.cli.speech.output import console, say
from dirac_keras.cli.speech.spelling import spell_options
from dirac_keras.errors import UserError
from dirac_keras.files.stderr import quiet_stderr

PAPERS = ("diracnets", "plainnets", "van")
BUDGET_SPENT = 75  # EX_TEMPFAIL of sysexits.h: there is more to do, the same command does it


@click.command(context_settings=CONTEXT)
@click.argument("paper", required=False, type=click.Choice([*PAPERS, "all"]))
@click.option(
    "--only", multiple=True, help="Table or figure to reproduce, such as table2; may be repeated. Default: all."
)
@click.option(
    "--run", "names", multiple=True, metavar="NAME",
    help="Run to train, as --list names it, or one seed of it: NAME-seed1; may be repeated. Default: all.",
)  # fmt: skip
@click.option(
    "--workdir", type=click.Path(),
    help="Folder of the runs; of all papers, with a folder for each. Default: runs/PAPER, with -quick or -full.",
)  # fmt: skip
@click.option(
    "--list", "only_list", is_flag=True,
    help="List the runs with epochs, seeds, data and the estimated time on this machine, measured, and stop.",
)  # fmt: skip
@click.option("--no-measure", is_flag=True, help="With --list, without the estimated time.")
@json_option("Print the runs of --list, or what was reproduced, as JSON.")
@click.option(
    "--quick", is_flag=True, help="Train a small network on few images in each run, to test the installation."
)
@click.option("--full", is_flag=True, help="Train with the paper's own recipe, epochs and seeds: days on a CPU.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of every run. Default: each run's own.")
@click.option(
    "--seeds", metavar="N", help="Number of seeds of every run, or the seeds themselves: 0,3. Default: each run's own."
)
@click.option("--seed", type=click.IntRange(min=0), help="Number added to the seed of every run. Default: 0.")
@click.option(
    "--budget", metavar="TIME",
    help="Stop after this time, such as 12m or 1h30m, with the state saved and exit status 75 if runs are left; the "
    "same command continues. Default: no limit.",
)  # fmt: skip
@click.option("--ledger", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write a page of all results in the workdir beside the papers' numbers; train nothing.")  # fmt: skip
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets. Default: $TFDS_DATA_DIR, "
              "else ~/tensorflow_datasets.")  # fmt: skip
@click.option("--download", is_flag=True, help="Download a data set if it is absent.")
def reproduce(
    paper, only, names, workdir, only_list, no_measure, as_json, quick, full, epochs, seeds, seed, budget, ledger,
    data_dir, download,
):  # fmt: skip
    """Train what a paper's tables and figures need, and write them beside the paper's numbers.

    Finished runs are not repeated, those copied from elsewhere neither. Interrupted runs resume.

    `dirac-keras reproduce plainnets --only table2 --workdir runs/plainnets`
    """
    with quiet_stderr():
        from dirac_keras.experiments.budget import parse_duration
        from dirac_keras.experiments.selection import FULL, QUICK, SHORT, Selection

    if ledger is not None:
        _refuse_with(
            "ledger", "shows all results of the workdir", only=only, run=names, list=only_list, no_measure=no_measure,
            json=as_json, quick=quick, full=full, epochs=epochs, seeds=seeds, seed=seed, budget=budget,
            data_dir=data_dir, download=download,
        )  # fmt: skip
        _write_ledger(paper, ledger, workdir)
        return
    if paper is None:
        raise UserError(f"Give the paper: {', '.join(PAPERS)}, or all.")
    if quick and full:
        raise UserError("`quick` and `full` exclude each other. Give one.")
    if quick:
        for option, value in (("epochs", epochs), ("seeds", seeds)):
            if value is not None:
                raise UserError(
                    f"`{option}` has no effect with `quick`, whose runs have one. Received {option}={value}."
                )
    if no_measure and not only_list:
        raise UserError("`no_measure` is for the list of the runs. Give `only_list` too.")
    if only_list:
        _refuse_with("only_list", "trains nothing", budget=budget, download=download)
    seconds = None if budget is None else parse_duration(budget)
    selection = Selection(QUICK if quick else FULL if full else SHORT, _parse_seeds(seeds), names)
    chosen = _chosen(paper, only, selection)
    overrides = {"epochs": epochs, "seed": seed, "data_dir": data_dir}
    suffix = "-quick" if quick else "-full" if full else ""
    folders = {one: pathlib.Path("runs") / f"{one}{suffix}" for one in chosen}
    if workdir is not None:  # the papers have runs of the same name
        folders = {one: pathlib.Path(workdir) / (one if paper == "all" else "") for one in chosen}
    if only_list:
        from dirac_keras.cli.reproduce.listing import list_runs

        list_runs(chosen, folders, selection, overrides, measured=not no_measure, as_json=as_json)
        return
    _reproduce(chosen, folders, selection, overrides, seconds, download, as_json)


def _reproduce(chosen, folders, selection, overrides, seconds, download, as_json):
    from dirac_keras.experiments import Account, Budget, reproduce_experiment
    from dirac_keras.experiments.merging import check_folders

    for paper, entries in chosen.items():
        check_folders(entries.values(), folders[paper], selection, **overrides)
    account, reports = Account(), []
    with Budget(seconds) as budget:
        for paper, entries in chosen.items():
            for experiment in entries.values():
                lines = reproduce_experiment(
                    experiment, folders[paper], selection.length == "quick", console, selection.length == "full",
                    download, selection.seeds, selection.names, account, budget, **overrides,
                )  # fmt: skip
                for line in lines:
                    say(line)
                report = folders[paper] / f"{experiment.name}.md"
                entry = {"paper": paper, "entry": experiment.name, "title": experiment.title}
                reports.append({**entry, "report": str(report) if lines else None})
    emit(as_json, {"reports": reports, **account.to_dict()})
    for line in account.lines():
        say(spell_options(line, click.get_current_context().command))
    if account.is_unfinished:
        say("Run the same command to continue.")
        sys.exit(BUDGET_SPENT)
    if account.absent and not account.ended:
        raise UserError("No run could be trained, and none is there: their data are absent, see above.")


def _chosen(paper, only, selection):
    """Paper -> the entries of it that are asked for. Raises: UserError: for a name that is unknown."""
    with quiet_stderr():
        from dirac_keras.experiments import PAPERS as ENTRIES
        from dirac_keras.experiments.selection import find_entries

    if paper != "all":
        return {paper: find_entries(ENTRIES[paper], only, selection)}
    merged = {f"{one}/{name}": entry for one, entries in ENTRIES.items() for name, entry in entries.items()}
    names = [key for name in only for key in ([k for k in merged if k.split("/")[1] == name] or [name])]
    found = find_entries(merged, names, selection)
    chosen = {one: {k.split("/")[1]: e for k, e in found.items() if k.startswith(f"{one}/")} for one in ENTRIES}
    return {one: entries for one, entries in chosen.items() if entries}


def _parse_seeds(text):
    """`"5"` as 5, `"0,3"` as (0, 3). Raises: UserError."""
    from dirac_keras.experiments.runs import seed_list

    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise UserError(f"`seeds` must be a number, or seeds separated by commas, such as 0,3. Received seeds={text}.")
    found = tuple(map(int, parts)) if len(parts) > 1 else int(text)
    seed_list(found)
    return found


def _refuse_with(option, what_it_does, **others):
    given = [name for name, value in others.items() if value is not None and value is not False and value != ()]
    if given:
        raise UserError(f"`{option}` {what_it_does} and takes no `{given[0]}`. Leave one of them out.")


def _write_ledger(paper, path, workdir):
    from dirac_keras.experiments.ledger import write_ledger

    if workdir is None:
        raise UserError("`ledger` reads the folders of runs under a folder. Give it as `workdir`.")
    for line in write_ledger(path, workdir, None if paper in (None, "all") else paper):
        say(line)
