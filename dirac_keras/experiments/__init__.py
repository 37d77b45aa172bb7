"""The papers' tables and figures as data, the runner that trains what they need, and their reports."""

import dataclasses
import pathlib

from dirac_keras.artifact import write_text
from dirac_keras.experiments.doctor import EXPERIMENTS as DOCTOR
from dirac_keras.experiments.plainnets import EXPERIMENTS as PLAINNETS
from dirac_keras.experiments.runner import Experiment, Run, quick_runs, run_all

# Paper -> name of a table or figure -> `Experiment`.
PAPERS = {"plainnets": PLAINNETS | DOCTOR}

__all__ = ["PAPERS", "Experiment", "Run", "quick_runs", "reproduce_experiment", "run_all"]


def reproduce_experiment(experiment, workdir, cut_down=False, console=None, **overrides):
    """Train an experiment's runs and write its report, `workdir/NAME.md`, with its pictures beside it.

    Args:
        experiment: `Experiment`.
        workdir: folder of the runs.
        cut_down: whether to step each run once on a small network instead (`quick_runs`).
        console: of `rich`, for the progress.
        overrides: fields of `TrainConfig` for all runs; None leaves a run's own.

    Returns: list of the report's lines.
    """
    workdir = pathlib.Path(workdir)
    if cut_down:
        experiment = dataclasses.replace(experiment, runs=quick_runs(experiment))
        overrides["epochs"] = None
    results = run_all(experiment.runs, workdir, console, **overrides)
    lines = [
        f"## {experiment.title}",
        "",
        f"{experiment.source}.",
        "",
        *experiment.report(experiment, results, workdir),
    ]
    write_text(workdir / f"{experiment.name}.md", "\n".join(lines) + "\n")
    return lines
