"""`python -m benchmarks accelerator`: a training step by width, through `train` and beside what it could be.

Each figure is measured in a process of its own, with a time limit, and written as soon as it is there. `--session`
runs all that one short loan of an accelerator should answer.
"""

import datetime
import json
import pathlib
import re
import shlex
import subprocess
import sys
import time

import click
import keras
from rich.console import Console
from rich.table import Table

from benchmarks.accelerator_parts import WAYS, Part, measure
from dirac_keras.files.atomic import write_text
from dirac_keras.training.folder.directory import machine, versions

TABLE_WAYS = ("train", "scan", "fit", "torch", "torch compiled")
WIDTH = 100  # of a table in a file
MARK = "FIGURES "  # before the line of a child that holds them


@click.command()
@click.option("--depth", default=28, show_default=True, help="Of the DiracNets.")
@click.option("--widths", default="1,2,5,10", show_default=True, help="Factors on their channels.")
@click.option("--ways", default=",".join(TABLE_WAYS), show_default=True, help=f"Of {', '.join(WAYS)}.")
@click.option("--batch-size", default=128, show_default=True)
@click.option("--steps", default=200, show_default=True, help="Steps of a timed epoch.")
@click.option(
    "--precision", default="auto", show_default=True, type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Of all networks.",
)  # fmt: skip
@click.option("--seeds", default=0, help="Measure so many seeds as one program against as many runs, nothing else.")
@click.option("--time-limit", default=120.0, show_default=True, help="Seconds that a part may take.")
@click.option("--json", "path", type=click.Path(), help="Write the figures here too, as they come.")
@click.option(
    "--session",
    type=click.Path(),
    help="Folder: run the parts of one session of 15 minutes, write there; called again, what is not done yet.",
)
@click.option("--data-dir", help="Folder of tensorflow-datasets, for the session's trainings on CIFAR-10.")
@click.option("--total-seconds", default=840.0, show_default=True, help="Seconds that the session may take.")
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
        from benchmarks import accelerator_session

        accelerator_session.run(session, data_dir, total_seconds, console, is_list, is_tiny)
        return
    if seeds:
        ways, options["seeds"] = "seeds", seeds
    unknown = sorted(set(ways.split(",")) - set(WAYS))
    if unknown:
        raise click.BadParameter(f"ways must be of {', '.join(WAYS)}. Received {unknown[0]!r}.")
    try:
        factors = [float(width) for width in widths.split(",")]
    except ValueError:
        raise click.BadParameter(f"widths must be numbers separated by commas. Received {widths!r}.") from None
    parts = [Part(way=way, width=width, **options) for width in factors for way in ways.split(",")]
    record = new_record()
    for one in parts:
        record["parts"].append(measured(one, time_limit))
        console.print(describe(record["parts"][-1]), highlight=False, soft_wrap=True)
        if path:
            write_text(pathlib.Path(path), json.dumps(record, indent=2) + "\n")
    show(record["parts"], console)


def new_record():
    """What a file of figures begins with."""
    return {
        "machine": machine(),
        "versions": versions(),
        "device": _device(),
        "date": datetime.date.today().isoformat(),
        "parts": [],
    }


def measured(part, seconds):
    """`measure(part)` in a process of its own: a dict with the part's fields, and figures or why there are none."""
    fields = {name: getattr(part, name) for name in part.__dataclass_fields__}
    command = [sys.executable, "-m", "benchmarks.accelerator", "--part", json.dumps(fields)]
    start = time.perf_counter()
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {**fields, "failed": f"took more than {seconds:.0f} s"}
    lines = [line for line in process.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        last = (process.stderr.strip().splitlines() or ["no message"])[-1]
        return {**fields, "failed": f"exit status {process.returncode}: {last[:300]}"}
    return {**fields, **json.loads(lines[-1].removeprefix(MARK)), "process_s": time.perf_counter() - start}


def describe(row):
    """One line of a part's figures."""
    name = Part(**{key: row[key] for key in Part.__dataclass_fields__}).name
    if "failed" in row:
        return f"{name}: {row['failed']}"
    if row["way"] == "seeds":
        return (
            f"{name} in {row['policy']}: together {row['together_s']:.1f} s, one after the other "
            f"{row['alone_s']:.1f} s; a step of all {row['together_step_ms']:.2f} ms against "
            f"{row['alone_step_ms']:.2f} ms; largest difference of a weight {row['largest_difference']:.2g}"
        )
    return f"{name}: {row['step_ms']:.2f} ms a step, compiled in {row['compile_s']:.1f} s"


def show(rows, console):
    """A table of the step times; ratios are to the bare scan of the same width."""
    table = Table(title="a training step", title_justify="left", header_style="bold")
    for heading in ("", "ms", "to the scan", "images/s", "compile s", "device MiB", "TFLOP/s", "of the peak"):
        table.add_column(heading, justify="left" if not heading else "right")
    scans = {row["width"]: row["step_ms"] for row in rows if row["way"] == "scan" and "step_ms" in row}
    for row in rows:
        if "step_ms" not in row:
            continue
        scan = scans.get(row["width"])
        table.add_row(
            f"{row['depth']}-{row['width']:g} {row['way']}",
            f"{row['step_ms']:.2f}",
            f"{row['step_ms'] / scan:.2f}" if scan else "",
            f"{row['images_s']:,.0f}",
            f"{row['compile_s']:.1f}",
            _number(row.get("device_mib"), ",.0f"),
            _number(row.get("tflops"), ".3g"),
            _number(row.get("peak_share"), ".0%"),
        )
    if table.row_count:
        console.print(table)


def run_command(command, seconds, folder, environment):
    """Run a command with a time limit.

    Returns: dict of its exit status, seconds, those of them in which chunks of steps were compiled, whether it resumed
        a run, and last lines.
    """
    start = time.perf_counter()
    log = folder / "command.log"
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(command)}\n")
        file.flush()
        try:
            status = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, timeout=seconds, env=environment
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds:.0f} s"
    seconds = time.perf_counter() - start
    text = log.read_text(encoding="utf-8", errors="replace")
    own = text.rpartition(f"$ {shlex.join(command)}\n")[2]
    compiled = re.findall(r"steps compiled together in ([\d.]+) s", own)
    return {
        "status": status,
        "seconds": seconds,
        "compile_s": sum(map(float, compiled)),
        "is_resumed": "resuming after " in own,
        "last_lines": text.splitlines()[-12:],
    }


def _device():
    """JAX's name of what computes; None on another backend. In a child, so that this process holds no device."""
    code = "import jax; print(jax.local_devices()[0].device_kind, len(jax.local_devices()))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return process.stdout.strip() or None


def _number(value, form):
    return "" if value is None else format(value, form)


if __name__ == "__main__":
    main()
