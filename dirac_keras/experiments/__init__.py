"""The papers' tables and figures as data, the runner that trains what they need, and their reports."""

import pathlib

from dirac_keras.errors import UserError
from dirac_keras.experiments.account import Account
from dirac_keras.experiments.budget import Budget
from dirac_keras.experiments.data import NoData
from dirac_keras.experiments.diracnets import EXPERIMENTS as DIRACNETS
from dirac_keras.experiments.doctor import EXPERIMENTS as DOCTOR
from dirac_keras.experiments.endings import diverged
from dirac_keras.experiments.kept import has_figures_alone
from dirac_keras.experiments.merging import gather
from dirac_keras.experiments.plainnets import EXPERIMENTS as PLAINNETS
from dirac_keras.experiments.runner import run_all
from dirac_keras.experiments.runs import Experiment, Run, full_runs, quick_runs, short_runs
from dirac_keras.experiments.selection import FULL, QUICK, SHORT, Selection
from dirac_keras.experiments.van import EXPERIMENTS as VAN
from dirac_keras.files.atomic import write_text
from dirac_keras.files.pages import is_other_page

# Paper -> name of a table or figure -> `Experiment`.
PAPERS = {"diracnets": DIRACNETS, "plainnets": PLAINNETS | DOCTOR, "van": VAN}

__all__ = [
    "PAPERS",
    "Account",
    "Budget",
    "Experiment",
    "Run",
    "Selection",
    "full_runs",
    "quick_runs",
    "reproduce_experiment",
    "run_all",
    "short_runs",
]


def reproduce_experiment(
    experiment,
    workdir,
    cut_down=False,
    console=None,
    full=False,
    download=False,
    seeds=None,
    names=(),
    account=None,
    budget=None,
    **overrides,
):
    """Train an experiment's runs and write its report, `workdir/NAME.md`, with its pictures beside it.

    The report is of every run of the experiment that has ended in `workdir`, of each seed that is there: those that
    were trained elsewhere and whose folders were copied in, too.

    Args:
        experiment: `Experiment`.
        workdir: folder of the runs.
        cut_down: whether to step each run once on a small network instead (`quick_runs`).
        console: of `rich`, for the progress.
        full: whether to train with the paper's recipe and epochs (`full_runs`).
        download: whether to fetch a data set that is absent.
        seeds: int, number of seeds of each run, or a sequence of seeds; None: each run's own.
        names: of the runs to train, with a seed or without; none: all.
        account, budget: see `run_all`.
        overrides: fields of `TrainConfig` for all runs; None leaves a run's own.

    Returns: list of the report's lines; empty if the budget is spent, whose report is left to the next call, or if the
        data that the report looks at are absent.
    Raises: ValueError: if the data are absent and there is no account, or a folder holds another run.
    """
    workdir = pathlib.Path(workdir)
    report = workdir / f"{experiment.name}.md"
    if is_other_page(report, f"## {experiment.title}"):
        raise UserError(f"workdir: {report} is no report of reproduce, so it is not replaced. Give another `workdir`.")
    if cut_down:
        overrides["epochs"] = None
    selection = Selection(QUICK if cut_down else FULL if full else SHORT, seeds, tuple(names))
    run_all(
        selection.runs(experiment), workdir, console, experiment.side_by_side, download, account, budget, **overrides
    )
    if budget is not None and budget.is_spent:  # a report may take minutes: the next call writes it
        if account is not None:
            account.reports_left.append(experiment.name)
        return []
    try:
        lines = report_lines(experiment, workdir, selection, **overrides)
    except NoData as error:
        if account is None:
            raise error.__cause__ from None
        account.reports_absent[experiment.name] = str(error.__cause__)
        return []
    write_text(workdir / f"{experiment.name}.md", "\n".join(lines) + "\n")
    return lines


def report_lines(experiment, workdir, selection, **overrides):
    """The lines of an experiment's report, from the folders of its runs that have ended.

    Args:
        experiment, workdir: see `reproduce_experiment`.
        selection: `Selection`.
        overrides: fields of `TrainConfig` for all runs; None leaves a run's own.
    """
    every = selection.every_run(experiment)
    results, notes = gather(every, workdir, **overrides)
    lines = [f"## {experiment.title}", "", f"{experiment.source}.", ""]
    kept = [run.name for run, directory in results if has_figures_alone(directory)]
    shown = [pair for pair in results if pair[0].name not in kept] if experiment.looks_into else results
    if shown or not every:
        lines += experiment.report(experiment, shown, workdir)
    elif not results:
        lines.append("No run has ended.")
    if kept:
        lines += ["", f"Kept without their models, so in no picture of a single network: {', '.join(kept)}."]
    lost = [run.name for run, directory in results if diverged(directory)]
    if lost:
        lines += ["", f"Diverged, so in no picture and no mean: {', '.join(lost)}."]
    ended = {run.name for run, _ in results}
    lacking = [run.name for run in every if run.name not in ended]
    if lacking:
        lines += ["", f"Lacking: {len(lacking)} of {len(every)} runs: {', '.join(lacking)}."]
    lines += ["", *notes] if notes else []
    return [*lines, *(f"Trained with `full` only: {title}." for title in selection.left_to_full(experiment))]
