"""`python -m benchmarks.quick`: what of the recipe `fast` makes `quick` better for DiracNets, VANs and PlainNets.

Every row has the same time: the seconds of a step are measured first, of the rows of a network in turn, and the
schedule of the rate ends with the last step that fits. The accuracies are those of the test images at equal parts of
that time. `python -m benchmarks.fast --network NAME` compares the same rows at equal steps.

On a machine that others use, `--clock cpu` counts the processor's time that the process was given, of all cores.
"""

import json
import os
import pathlib
import time

import click
import keras
import numpy as np
from rich.console import Console

from benchmarks.command import Benchmark
from benchmarks.fast import ADDED, NETWORKS, StepSeconds, make_config, make_model
from dirac_keras.files.atomic import write_text
from dirac_keras.training.building import compile_model
from dirac_keras.training.fitting import family_callbacks
from dirac_keras.training.folder.directory import machine, versions

OTHERS = tuple(name for name, (_, changes) in NETWORKS.items() if changes is ADDED)
FIRST_ROWS = ("quick", "Muon")
UNTIMED, TIMED, ROUNDS = 3, 8, 3  # steps: the first ones compile, and fill the buffer of the input
CLOCKS = {"wall": time.perf_counter, "cpu": lambda: time.process_time() / (os.cpu_count() or 1)}


def seconds_of_a_step(network, change, common, clock):
    """Median of a training step of a row, in seconds of a clock."""
    config, splits, model = _prepared(network, change, {**common, "epochs": 1}, 0)
    compile_model(model, config, UNTIMED + TIMED)
    times = StepSeconds(clock)
    _fit(model, config, splits, UNTIMED + TIMED, [*family_callbacks(config), times])
    return float(np.median(times.steps[UNTIMED:]))


def measure_steps(kept, network, names, common, clock):
    """Time a step of each row of a network `ROUNDS` times, in turn, and keep the seconds in lists of the dict `kept`.

    The least value of a row counts: whatever else the machine does only adds to it.
    """
    for done in range(ROUNDS):
        for name in names:
            seconds = kept.setdefault(f"{network}, {name}", [])
            if len(seconds) <= done:
                seconds.append(seconds_of_a_step(network, ADDED[name], common, clock))
                keras.backend.clear_session()


def train_row(network, change, common, seed, steps, points, clock):
    """One training of so many steps, tested after each of `points` equal parts of them.

    Returns: dict of `accuracies` in %, of `seconds` until each of them, without the tests, and of `steps`.
    """
    config, splits, model = _prepared(network, change, {**common, "epochs": points}, seed)
    part = max(1, steps // points)
    compile_model(model, config, part)
    times = StepSeconds(clock)
    history = _fit(model, config, splits, part, [*family_callbacks(config), times], splits.test())
    return {
        "accuracies": [100 * value for value in history["val_accuracy"]],
        "seconds": [times.total(part * point) for point in range(1, points + 1)],
        "steps": part * points,
    }


def _prepared(network, change, common, seed):
    from pipelines import load_splits

    config = make_config(network, change, common, seed)
    splits = load_splits(**config.data_arguments(), eval_batch_size=500)
    return config, splits, make_model(change, config, splits)


def _fit(model, config, splits, steps_per_epoch, callbacks, validation_data=None):
    return model.fit(
        splits.train(0),
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=validation_data,
        callbacks=callbacks,
        shuffle=False,  # the stream is shuffled
        verbose=0,
    ).history


def table(record):
    """Markdown lines: of each network and change the mean of its seeds, in brackets the lowest and the highest."""
    seconds, points = record["options"]["seconds"], record["options"]["points"]
    heads = [f"after {seconds * point / points:.0f} s, %" for point in range(1, points + 1)]
    lines = [
        f"| network | change | ms a step | steps | seconds | {' | '.join(heads)} | seeds |",
        "|---" * (6 + points) + "|",
    ]
    rows = {}
    for run in record["runs"].values():
        rows.setdefault((run["network"], run["change"]), []).append(run)
    for (network, change), runs in rows.items():
        taken = np.mean([run["seconds"][-1] for run in runs])
        cells = [_cell([run["accuracies"][point] for run in runs]) for point in range(points)]
        facts = f"{network} | {change} | {1e3 * taken / runs[0]['steps']:.0f} | {runs[0]['steps']} | {taken:.1f}"
        lines.append(f"| {facts} | {' | '.join(cells)} | {len(runs)} |")
    return lines


def _cell(values):
    spread = f" ({min(values):.1f}-{max(values):.1f})" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


@click.command(cls=Benchmark)
@click.option("--network", "networks", multiple=True, type=click.Choice(OTHERS), help="May be repeated. Default: all.")
@click.option("--change", "names", multiple=True, type=click.Choice(list(ADDED)), default=FIRST_ROWS,
              show_default=True, help="Row; may be repeated.")  # fmt: skip
@click.option("--seconds", default=40.0, show_default=True, help="Of a training, its steps alone.")
@click.option("--points", default=4, show_default=True, help="Equal parts of that time that end with a test.")
@click.option("--seeds", default=2, show_default=True, help="Number of seeds, from 0.")
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", show_default=True)
@click.option("--data", default="cifar10", show_default=True)
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets.")
@click.option("--max-train", type=int, help="Largest number of training images. Default: all.")
@click.option("--max-test", type=int, default=2000, show_default=True)
@click.option("--batch-size", type=int, help="Default: the recipe's.")
@click.option("--width", type=float, help="Of DiracNets and VANs. Default: 1.")
@click.option("--precision", help="Default: auto.")
@click.option("--json", "path", type=click.Path(), help="Keep the figures here; what is in the file is not repeated.")
def main(networks, names, seconds, points, seeds, clock, path, **fields):
    """Train DiracNet-28-1, VAN-18 and conv50 with `quick` and with changes of it, each for the same time."""
    console = Console()
    common = {name: value for name, value in fields.items() if value is not None}
    options = {"seconds": seconds, "points": points, "clock": clock, "fields": common}
    path = path and pathlib.Path(path)
    record = {"options": options, "step_seconds": {}, "runs": {}}
    if path and path.exists():
        record = json.loads(path.read_text())
        if record["options"] != options:
            raise click.UsageError(f"--json: {path} holds runs with {record['options']}.")
    record |= {"machine": machine(), "versions": versions(), "backend": keras.backend.backend()}
    for seed in range(seeds):
        for network in networks or OTHERS:
            own = {name: value for name, value in common.items() if name != "width" or network != "conv50"}
            measure_steps(record["step_seconds"], network, names, own, CLOCKS[clock])
            for name in names:
                key = f"{network}, {name}"
                if (run := f"{key}, seed {seed}") not in record["runs"]:
                    steps = int(seconds / min(record["step_seconds"][key]))
                    found = train_row(network, ADDED[name], own, seed, steps, points, CLOCKS[clock])
                    record["runs"][run] = {"network": network, "change": name, "seed": seed, **found}
                    keras.backend.clear_session()
                    if path:
                        write_text(path, json.dumps(record, indent=2) + "\n")
                found = record["runs"][run]
                console.print(
                    f"{run}: {found['steps']} steps in {found['seconds'][-1]:.0f} s; "
                    f"{', '.join(f'{value:.1f}' for value in found['accuracies'])} %",
                    highlight=False,
                )
    for line in table(record):
        print(line)


if __name__ == "__main__":
    main()
