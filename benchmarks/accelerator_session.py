"""What one short loan of an accelerator should answer, most important first; each part has a time limit."""

import dataclasses
import json
import os
import pathlib
import sys
import time

import click

from benchmarks import accelerator_figures as figures
from benchmarks.accelerator_parts import Part
from dirac_keras.files.atomic import write_text
from dirac_keras.files.tables import read_table
from dirac_keras.training.folder.directory import RunDirectory

RESULTS = "results.json"
TINY = {"depth": 10, "width": 0.25, "batch_size": 4, "steps": 2, "seeds": 2}  # of a `Part`
# What makes a training tiny; the networks stay of their families.
TINY_DATA = ("--data", "digits", "--max-train", "128", "--max-test", "64", "--epochs", "1", "--batch-size", "64")
MARGIN = 30  # seconds that a command with a budget needs to start and to save
TINY_SECONDS = 900  # limit of a tiny part: a CPU compiles slowly
TINY_FAST = ("--depth", "5", "--width", "0.1")


@dataclasses.dataclass(frozen=True)
class Item:
    """A part of the session.

    Attributes:
        name: str.
        seconds: number, its time limit.
        part: `Part` to measure, or None.
        command: list of str to run instead.
        workdir: path of the run that the command trains; None: several.
        is_budgeted: whether it stops by itself, its state saved, when told how long it may take.
        least: number, seconds with fewer of which left it is not begun.
    """

    name: str
    seconds: float
    part: Part | None = None
    command: tuple = ()
    workdir: pathlib.Path | None = None
    is_budgeted: bool = False
    least: float = 10

    def command_of(self, seconds):
        """The command, told of the seconds that it has."""
        budget = ["--budget", f"{max(1.0, seconds - MARGIN):.0f}s"] if self.is_budgeted else []
        return [*self.command, *budget]


def items(folder, data_dir, is_tiny=False):
    """The parts in their order.

    Args:
        folder: path that the trainings write to.
        data_dir: folder of tensorflow-datasets, or None.
        is_tiny: whether they are of sizes for a CPU, to try the session itself.
    """

    def train(name, seconds, flags):
        where = ["--data-dir", data_dir] if data_dir and not is_tiny else []
        data = (*TINY_DATA, *TINY_FAST) if is_tiny else ("--data", "cifar10")
        command = [sys.executable, "-m", "dirac_keras.cli", "train", *where, "--no-export"]
        workdir = folder / name.replace(" ", "-")
        command += ["--workdir", str(workdir), *flags, *data]
        return Item(name, TINY_SECONDS if is_tiny else seconds, command=tuple(command), workdir=workdir)

    def reproduce(name, seconds, paper, entry, run, seeds):
        """Runs of the ledger at the paper's length; what is left at the end of the budget is done by the next call."""
        length = ("--quick",) if is_tiny else ("--full", "--seeds", str(seeds))
        command = [sys.executable, "-m", "dirac_keras.cli", "reproduce", paper, "--only", entry, *length]
        command += ["--run", run] if run and not is_tiny else []
        command += ["--data-dir", data_dir] if data_dir and not is_tiny else []
        ledger = folder / "ledger" / paper
        return Item(
            name, TINY_SECONDS if is_tiny else seconds, command=(*command, "--workdir", str(ledger)),
            workdir=ledger / run if run and not is_tiny else None, is_budgeted=not is_tiny, least=120,
        )  # fmt: skip

    def step(way, width, seconds=60, **fields):
        fields = {"way": way, "width": width, **fields}
        part = Part(**fields)
        return Item(part.name, TINY_SECONDS, Part(**fields | TINY)) if is_tiny else Item(part.name, seconds, part)

    table = [step(way, width) for width in (1, 10) for way in ("train", "scan")]
    views = ["--test-time-augmentation", "flip_shift"]
    fast = [train(f"fast seed {seed}", 60, ["--recipe", "fast", *views, "--seed", str(seed)]) for seed in range(3)]
    papers = [
        reproduce("34-1 paper", 400, "diracnets", "depth", "cifar10-dirac34", 1),
        reproduce("plain 34-1 paper", 400, "diracnets", "depth", "cifar10-plain34", 1),
    ]
    seeds = step("seeds", 1, 150, depth=34)
    rest = [step(way, width) for width in (1, 10) for way in ("fit", "torch", "torch compiled")]
    rest += [step(way, width) for width in (2, 5) for way in ("train", "scan")]
    rest += [reproduce("usps table II", 600, "plainnets", "table2", None, 5)]
    return [*table, *fast, *papers, seeds, *rest]


def run(folder, data_dir, total_seconds, console, is_list, is_tiny=False):
    """Run the parts until the time is over; `results.json` in the folder has what is done.

    Called again for the same folder, it runs what is not done yet: a training that was stopped is resumed.

    Args:
        folder: path, made if absent.
        data_dir, is_tiny: see `items`.
        total_seconds: number; a part that would begin after it is left out, and its limit ends there.
        console: `rich.console.Console`.
        is_list: whether the parts are printed and none is run.
    """
    folder = pathlib.Path(folder or "session")
    todo = items(folder, data_dir, is_tiny)
    if is_list:
        for item in todo:
            console.print(
                f"{item.seconds:4.0f} s  {item.name}  {' '.join(item.command)}", highlight=False, soft_wrap=True
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    start, record = time.monotonic(), figures.new_record()
    done = _done(folder / RESULTS)
    environment = {**os.environ, "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "jax")}
    for item in todo:
        left = total_seconds - (time.monotonic() - start)
        seconds = min(item.seconds, left)
        if item.name in done:
            row = done[item.name]
        elif left < item.least:
            row = {"name": item.name, "failed": f"{max(0, left):.0f} s were left, it needs {item.least:.0f} s"}
        elif item.part:
            row = {"name": item.name, **figures.measured(item.part, seconds)}
        else:
            command = item.command_of(seconds)
            row = {"name": item.name, **figures.run_command(command, seconds, folder, environment)}
            row |= _of_training(item.workdir, row) if item.workdir else {}
        record["parts"].append(row)
        console.print(_line(row), highlight=False, soft_wrap=True)
        write_text(folder / RESULTS, json.dumps(record, indent=2) + "\n")
    figures.show([row for row in record["parts"] if "way" in row], console)


def _of_training(workdir, row):
    """What a run's files say of it: accuracies, and the seconds of its epochs."""
    run, found = RunDirectory(workdir), {}
    if run.metrics.exists():
        rows = read_table(run.metrics)
        found["epoch_accuracies"] = [one["val_accuracy"] for one in rows]
        found["epoch_seconds"] = [one["seconds"] for one in rows]
        if not row["is_resumed"]:  # else programs were compiled in commands before this one too
            found["train_s"] = sum(found["epoch_seconds"]) - row["compile_s"]
    if run.summary.exists():
        summary = json.loads(run.summary.read_text())
        found |= {name: summary[name] for name in ("test_accuracy", "test_accuracy_of_views") if name in summary}
    return found


def _line(row):
    """One line of a part's figures."""
    if "way" in row:
        return figures.describe(row)
    name = row["name"]
    if "failed" in row:
        return f"{name}: {row['failed']}"
    if "test_accuracy" not in row:
        return f"{name}: {row['status']}: {row['last_lines'][-1:]}"
    views = f" ({row['test_accuracy_of_views']:.2%} over views)" if "test_accuracy_of_views" in row else ""
    accuracy = f"{name}: {row['test_accuracy']:.2%}{views}"
    if "train_s" not in row:
        return f"{accuracy}; {row['seconds']:.0f} s of the command that finished a run begun before"
    compiled = f"compiled in {row['compile_s']:.1f} s; {row['seconds']:.0f} s in all"
    return f"{accuracy} after {row['train_s']:.1f} s of training, {compiled}"


def _done(path):
    """The rows of an earlier call that need not be run again, by name."""
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text())["parts"]
        return {row["name"]: row for row in rows if "failed" not in row and row.get("status", 0) == 0}
    except (ValueError, KeyError, TypeError) as error:
        raise click.UsageError(
            f"--session: {path} is no record of one ({type(error).__name__}: {error}). Remove it, or give another "
            "folder."
        ) from None
