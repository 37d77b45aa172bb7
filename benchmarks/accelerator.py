"""`python -m benchmarks accelerator`: a training step by width, through `train` and beside what it could be.

Each figure is measured in a process of its own, with a time limit, and written as soon as it is there. `--session`
runs all that one short loan of an accelerator should answer.
"""

import json
import pathlib

import click
import keras
from rich.console import Console

from benchmarks import accelerator_session
from benchmarks.accelerator_figures import MARK, describe, measured, new_record, show
from benchmarks.accelerator_parts import WAYS, Part, config_of, measure
from benchmarks.command import ABOVE_ZERO, Benchmark
from dirac_keras.files.atomic import write_text
from dirac_keras.training.limits import check_size

TABLE_WAYS = ("train", "scan", "fit", "torch", "torch compiled")
WIDTH = 100  # of a table in a file


@click.command(cls=Benchmark)
@click.option("--depth", type=click.IntRange(min=1), default=28, show_default=True, help="Of the DiracNets.")
@click.option("--widths", default="1,2,5,10", show_default=True, help="Factors on their channels.")
@click.option("--ways", default=",".join(TABLE_WAYS), show_default=True, help=f"Of {', '.join(WAYS)}.")
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=200, show_default=True, help="Steps of a timed epoch.")
@click.option(
    "--precision", default="auto", show_default=True, type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Of all networks.",
)  # fmt: skip
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    help="Measure so many seeds as one program against as many runs, nothing else.",
)
@click.option("--time-limit", type=ABOVE_ZERO, default=120.0, show_default=True, help="Seconds that a part may take.")
@click.option("--json", "path", type=click.Path(), help="Write the figures here too, as they come.")
@click.option(
    "--session",
    type=click.Path(),
    help="Folder: run the parts of one session of 15 minutes, write there; called again, what is not done yet.",
)
@click.option("--data-dir", help="Folder of tensorflow-datasets, for the session's trainings on CIFAR-10.")
@click.option(
    "--total-seconds", type=ABOVE_ZERO, default=840.0, show_default=True, help="Seconds that the session may take."
)
@click.option("--tiny", "is_tiny", is_flag=True, help="The session in sizes for a CPU, to try the session itself.")
@click.option("--list", "is_list", is_flag=True, help="Print the parts of the session and stop.")
@click.option("--part", hidden=True, help="Measure one part, given as JSON, in this process.")
def main(part, session, is_tiny, is_list, data_dir, total_seconds, path, time_limit, seeds, widths, ways, **options):
    """Time a training step of DiracNet by width: through `train`, as the bare compiled scan of the same step, through
    Keras' `fit`, and of the authors' network in PyTorch, eager and compiled.

    Images are random, of CIFAR's shape. On a CPU: --depth 10 --widths 0.25 --batch-size 8 --steps 5.
    """
    if part:
        print(MARK + json.dumps(measure(Part(**json.loads(part)))), flush=True)
        return
    if keras.backend.backend() != "jax":
        raise click.UsageError(f"It measures Keras on JAX. Received {keras.backend.backend()}: set KERAS_BACKEND=jax.")
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    if session or is_list:
        accelerator_session.run(session, data_dir, total_seconds, console, is_list, is_tiny)
        return
    if seeds:
        ways, options["seeds"] = "seeds", seeds
    unknown = sorted(set(ways.split(",")) - set(WAYS))
    if unknown:
        raise click.BadParameter(f"must be of {', '.join(WAYS)}. Received {unknown[0]!r}.", param_hint="--ways")
    try:
        factors = [float(width) for width in widths.split(",")]
    except ValueError:
        message = f"must be numbers separated by commas. Received {widths!r}."
        raise click.BadParameter(message, param_hint="--widths") from None
    parts = [Part(way=way, width=width, **options) for width in factors for way in ways.split(",")]
    for one in parts:  # a mistake would be that of every part, each in a process of its own
        check_size(config_of(one))
    record = new_record()
    for one in parts:
        record["parts"].append(measured(one, time_limit))
        console.print(describe(record["parts"][-1]), highlight=False, soft_wrap=True)
        if path:
            write_text(pathlib.Path(path), json.dumps(record, indent=2) + "\n")
    show(record["parts"], console)
    if all("failed" in row for row in record["parts"]):
        raise click.ClickException("No part was measured, see above. --time-limit gives each more seconds.")


if __name__ == "__main__":
    main()
