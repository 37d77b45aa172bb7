"""The papers' tables and figures as data, the runner that trains what they need, and their reports."""

import dataclasses
import os
import pathlib

from dirac_keras.errors import UserError
from dirac_keras.experiments.diracnets import EXPERIMENTS as DIRACNETS
from dirac_keras.experiments.doctor import EXPERIMENTS as DOCTOR
from dirac_keras.experiments.plainnets import EXPERIMENTS as PLAINNETS
from dirac_keras.experiments.runner import run_all
from dirac_keras.experiments.runs import Experiment, Run, full_runs, quick_runs, short_runs
from dirac_keras.experiments.van import EXPERIMENTS as VAN
from dirac_keras.files.atomic import write_text

# Paper -> name of a table or figure -> `Experiment`.
PAPERS = {"diracnets": DIRACNETS, "plainnets": PLAINNETS | DOCTOR, "van": VAN}

__all__ = ["PAPERS", "Experiment", "Run", "full_runs", "quick_runs", "reproduce_experiment", "run_all", "short_runs"]


def reproduce_experiment(experiment, workdir, cut_down=False, console=None, full=False, download=False, **overrides):
    """Train an experiment's runs and write its report, `workdir/NAME.md`, with its pictures beside it.

    Args:
        experiment: `Experiment`.
        workdir: folder of the runs.
        cut_down: whether to step each run once on a small network instead (`quick_runs`).
        console: of `rich`, for the progress.
        full: whether to train with the paper's recipe and epochs (`full_runs`).
        download: whether to fetch a data set that is absent.
        overrides: fields of `TrainConfig` for all runs; None leaves a run's own.

    Returns: list of the report's lines.
    """
    workdir = pathlib.Path(workdir)
    _check_report(workdir / f"{experiment.name}.md", experiment.title)
    left_out = []
    if cut_down:
        experiment = dataclasses.replace(experiment, runs=quick_runs(experiment))
        overrides["epochs"] = None
    elif full:
        experiment = dataclasses.replace(experiment, runs=full_runs(experiment))
    else:
        left_out = [run.title for run in experiment.runs if run.only_full]
        experiment = dataclasses.replace(experiment, runs=short_runs(experiment))
    results = run_all(experiment.runs, workdir, console, experiment.side_by_side, download, **overrides)
    lines = [
        f"## {experiment.title}",
        "",
        f"{experiment.source}.",
        "",
        *experiment.report(experiment, results, workdir),
        *(f"Trained with `full` only: {title}." for title in left_out),
    ]
    write_text(workdir / f"{experiment.name}.md", "\n".join(lines) + "\n")
    return lines


def _check_report(path, title):
    """Raise UserError if a file is in the report's place that is none."""
    if not os.path.lexists(path):
        return
    try:
        is_report = path.read_text(encoding="utf-8").startswith(f"## {title}\n")
    except (OSError, UnicodeDecodeError):
        is_report = False
    if not is_report:
        raise UserError(f"workdir: {path} is no report of reproduce, so it is not replaced. Give another `workdir`.")
