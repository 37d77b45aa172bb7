"""`python -m benchmarks.van_timetable`: which reading of the VAN paper leaves the skips as long as its Fig. 2 says.

Three commands, each cheap beside the next: `recursion` runs eq. 7 and 8 under every reading, `gradients` measures what
they need of a network, `train` trains networks under the readings that are left (docs/van.md).
"""

import dataclasses
import json
import pathlib
import time

import click
import numpy as np

from benchmarks.command import Benchmark
from benchmarks.van_readings import CONV, DENSE, READINGS, Reading, describe, gone_step, simulate
from dirac_keras.files.atomic import write_text

SETTINGS = {"conv": CONV, "dense": DENSE}
# Units of each layer of the paper's networks: VAN-26 and VAN-30.
UNITS = {"conv": [16] * 3 + [32] * 3 + [64] * 3 + [128] * 3, "dense": [50] * 30}
# Beside the readings, by `train`: alpha held, or on a timetable of ours.
BESIDE = {"plain": "plain", "ResNet": "ResNet"}
EVEN = {f"even until {share:.0%} of the training": Reading(linear_end=share) for share in (0.25, 0.5, 0.73)}


@click.group()
def main():
    """Readings of the VAN paper: by recursion, by gradients, by training."""


@main.command(cls=Benchmark)
@click.argument("files", nargs=-1, type=click.Path(exists=True))
def recursion(files):
    """When the skips are gone under every reading, without a gradient of the cost and with those of FILES."""
    measured = {}
    for file in files:
        record = json.loads(pathlib.Path(file).read_text())
        layers = [list(map(np.array, one)) for one in record["gradients"].values()]
        measured[record["layout"]] = [np.max(one, axis=0) for one in zip(*layers, strict=True)]
    for name, setting in SETTINGS.items():
        print(f"\n{name}: eta {setting.rate:g}, eta' / eta {setting.fraction:g}, {setting.epochs} epochs of "
              f"{setting.steps_per_epoch} steps\n")  # fmt: skip
        heads = ["reading", "multipliers alone", "is the claim in"]
        print(f"| {' | '.join(heads + (['with measured gradients', 'is the claim in'] if name in measured else []))} |")
        print("|---" * (5 if name in measured else 3) + "|")
        for title, reading in READINGS.items():
            cells = [*describe(gone_step(simulate(reading, setting, _zeros(name))), setting)]
            if name in measured:
                cells += describe(gone_step(simulate(reading, setting, measured[name])), setting)
            print(f"| {title} | {' | '.join(cells)} |")


def _zeros(layout):
    return [np.zeros(units) for units in UNITS[layout]]


@main.command(cls=Benchmark)
@click.option("--layout", type=click.Choice(list(SETTINGS)), default="dense", show_default=True)
@click.option("--data", default="mnist", show_default=True)
@click.option("--depth", default=30, show_default=True)
@click.option("--at", multiple=True, type=int, default=(0, 50, 200, 800), show_default=True, help="Steps; repeat it.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "path", type=click.Path(), required=True, help="File for `recursion`.")
def gradients(layout, data, depth, at, seed, path):
    """Measure dC/dalpha of the units of a network with all its skips, after some steps of its training."""
    from benchmarks.van_network import VanTraining, measure_gradients, van_config
    from pipelines import load_splits

    setting = SETTINGS[layout]
    config = van_config(data, layout, depth, setting, seed=seed)
    splits = load_splits(**config.data_arguments())
    found = measure_gradients(VanTraining(config, splits, setting, "ResNet"), splits.train(0), sorted(at))
    print("| step | largest of a unit | largest sum of a layer | both times the batch |")
    print("|---|---|---|---|")
    for step, layers in found.items():
        unit, layer = max(np.abs(one).max() for one in layers), max(abs(one.sum()) for one in layers)
        print(f"| {step} | {unit:.4f} | {layer:.3f} | {unit * setting.batch_size:.2f}, "
              f"{layer * setting.batch_size:.2f} |")  # fmt: skip
    record = {"layout": layout, "data": data, "depth": depth, "seed": seed}
    record["gradients"] = {step: [one.tolist() for one in layers] for step, layers in found.items()}
    write_text(pathlib.Path(path), json.dumps(record) + "\n")


@main.command(cls=Benchmark)
@click.option("--layout", type=click.Choice(list(SETTINGS)), default="conv", show_default=True)
@click.option("--data", default="digits", show_default=True)
@click.option("--depth", default=26, show_default=True)
@click.option("--width", type=float, help="Factor on the channels of conv.")
@click.option("--epochs", default=165, show_default=True)
@click.option("--batch-size", default=128, show_default=True)
@click.option("--max-train", type=int, help="Largest number of training images. Default: all.")
@click.option("--seeds", default=3, show_default=True, help="Number of seeds, from 0.")
@click.option("--only", multiple=True, help="Reading; may be repeated. Default: all, and the networks beside them.")
@click.option("--json", "path", type=click.Path(), help="Keep the figures here; what is in the file is not repeated.")
def train(layout, data, depth, epochs, batch_size, seeds, only, path, **fields):
    """Train VANs under several readings, the plain network and the ResNet beside them."""
    from benchmarks.van_network import VanTraining, van_config
    from pipelines import load_splits

    trainings = READINGS | EVEN | BESIDE
    if unknown := sorted(set(only) - set(trainings)):
        raise click.UsageError(f"--only must be one of {', '.join(trainings)}. Received {unknown[0]}.")
    path = path and pathlib.Path(path)
    common = {"layout": layout, "data": data, "depth": depth, "epochs": epochs, "batch_size": batch_size, **fields}
    record = json.loads(path.read_text()) if path and path.exists() else {"fields": common, "runs": {}}
    if record["fields"] != common:
        raise click.UsageError(f"--json: {path} holds runs of {record['fields']}, not of {common}.")
    own = SETTINGS[layout]
    decays = tuple(round(epoch * epochs / own.epochs) for epoch in own.decay_epochs)
    setting = dataclasses.replace(own, epochs=epochs, batch_size=batch_size, decay_epochs=decays)
    given = {name: value for name, value in fields.items() if value is not None}
    for seed in range(seeds):
        config = van_config(data, layout, depth, setting, seed=seed, **given)
        splits = load_splits(**config.data_arguments())
        setting = dataclasses.replace(setting, steps_per_epoch=splits.steps_per_epoch)
        for name in only or trainings:
            key = f"{name}, seed {seed}"
            if key in record["runs"]:
                continue
            start = time.perf_counter()
            record["runs"][key] = _trained(VanTraining(config, splits, setting, trainings[name]), splits)
            record["runs"][key]["seconds"] = time.perf_counter() - start
            if path:
                write_text(path, json.dumps(record, indent=2) + "\n")
    for line in train_table(record["runs"], only or trainings, setting.steps_per_epoch):
        print(line)


def _trained(training, splits):
    setting = training.setting
    for batch, (images, labels) in enumerate(splits.train(0)):
        if batch == setting.epochs * setting.steps_per_epoch:
            break
        training.step(images, labels)
    return {
        "gone": training.gone_step(),
        "left": training.residuals[-1],
        "train_error": 100 * (1 - training.accuracy(splits.train_in_order())),
        "test_error": 100 * (1 - training.accuracy(splits.test())),
    }


def train_table(runs, names, steps_per_epoch):
    """Markdown lines: when the skips were gone, and the errors, mean and deviation over the seeds.

    Args:
        runs: dict, `"NAME, seed N"` -> figures.
        names: of the rows.
        steps_per_epoch: int.
    """
    lines = ["| training | skips gone at step (epoch) | train error | test error | seeds |", "|---|---|---|---|---|"]
    for name in names:
        found = [run for key, run in runs.items() if key.rpartition(", seed ")[0] == name]
        if not found:
            continue
        gone = [run["gone"] for run in found]
        when = "never" if None in gone else f"{np.median(gone):,.0f} ({np.median(gone) / steps_per_epoch:.3g})"
        when = "" if name == "plain" else when
        cells = [_spread([run[what] for run in found]) for what in ("train_error", "test_error")]
        lines.append(f"| {name} | {when} | {' | '.join(cells)} | {len(found)} |")
    return lines


def _spread(values):
    return f"{np.mean(values):.2f} %" + (f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
