"""`python -m benchmarks`: print the cases' medians and ratios; or another benchmark, by its name."""

import datetime
import importlib
import json
import pathlib
import sys

import click
import keras
from rich.console import Console
from rich.table import Table

from benchmarks.cases import CASES, LONG, POLICIES
from benchmarks.command import ABOVE_ZERO, Benchmark
from benchmarks.timing import time_in_turn
from dirac_keras.files.atomic import write_text
from dirac_keras.training.folder.directory import machine, versions


def run():
    """The command that the first word names, else the cases."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    command = command_of(name)
    if command is None:
        return main(prog_name="python -m benchmarks")
    return command(sys.argv[2:], prog_name=f"python -m benchmarks {name}")


def command_of(name):
    """The `click.Command` of a benchmark of its own, as of `benchmarks/scale.py`; None if none has that name."""
    is_module = name.isidentifier() and (pathlib.Path(__file__).parent / f"{name}.py").is_file()
    if name in CASES or name.startswith("_") or not is_module:
        return None
    command = getattr(importlib.import_module(f"benchmarks.{name}"), "main", None)
    return command if isinstance(command, click.Command) else None


@click.command(cls=Benchmark)
@click.argument("names", nargs=-1, type=click.Choice(list(CASES)))
@click.option("--depth", type=click.IntRange(min=1), default=28, show_default=True)
@click.option("--width", type=ABOVE_ZERO, default=1.0, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=9, show_default=True, help="Values for each alternative.")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(list(POLICIES)), help="Default: both.")
@click.option("--data-dir", help="Folder of tensorflow-datasets, for the input pipeline.")
@click.option("--jit-compile", is_flag=True, help="Compile the steps with XLA.")
@click.option("--json", "path", type=click.Path(), help="Write the figures here too.")
def main(names, rounds, path, **options):
    """Time NAMES (default: all) on DiracNet with CIFAR's shapes: medians, and ratios round by round.

    Ratios compare neighbours of one run: each row against the row of the same precision that the case is held
    against. Example: python -m benchmarks training inference --width 2

    Commands of their own: `python -m benchmarks accelerator`, a step on a GPU or TPU; `python -m benchmarks scale`,
    what 8, 64 and 512 chips would do; and those that the pages of docs/ name, as `python -m benchmarks fast`.
    """
    options = Options(**{**options, "precisions": options["precisions"] or tuple(POLICIES)})
    console = Console()
    record = {"machine": machine(), "versions": versions(), "backend": keras.backend.backend(), "cases": {}}
    record["date"] = datetime.date.today().isoformat()
    console.print(f"{record['machine']}; {record['date']}; DiracNet-{options.depth}-{options.width:g}, batch "
                  f"{options.batch_size}, Keras on {record['backend']}", highlight=False, soft_wrap=True)  # fmt: skip
    for name in names or CASES:
        timings = time_in_turn(CASES[name](options), rounds, calls=1 if name in LONG else 3)
        table = Table(title=CASES[name].__doc__.rstrip("."), title_justify="left", header_style="bold")
        for heading in ("", "median ms", "spread ms", "ratio", "its spread"):
            table.add_column(heading, justify="left" if not heading else "right")
        rows = []
        for first, second in zip(timings[::2], timings[1::2], strict=True):
            median, low, high = first.ratio_to(second)
            rows += [_row(first, f"{median:.3f}", f"{low:.3f}-{high:.3f}"), _row(second, "1", "")]
            record["cases"].setdefault(name, []).append(
                {"first": first.name, "second": second.name, "ratio": median, "lowest": low, "highest": high,
                 "first_ms": 1e3 * first.median, "second_ms": 1e3 * second.median}
            )  # fmt: skip
        for row in rows:
            table.add_row(*row)
        console.print(table)
        if name == "input":
            images = 40 * options.batch_size
            speeds = [images / timing.median for timing in timings]
            console.print(f"input {speeds[0]:,.0f} images/s, training {speeds[1]:,.0f} images/s", highlight=False)
            record["cases"][name][0] |= {"input_images_s": speeds[0], "training_images_s": speeds[1]}
    if path:
        write_text(pathlib.Path(path), json.dumps(record, indent=2) + "\n")


class Options:
    """The command's options as attributes."""

    def __init__(self, **values):
        self.__dict__.update(values)


def _row(timing, ratio, spread):
    low, high = min(timing.seconds), max(timing.seconds)
    return timing.name, f"{1e3 * timing.median:.1f}", f"{1e3 * low:.1f}-{1e3 * high:.1f}", ratio, spread


if __name__ == "__main__":
    run()
