"""`python -m benchmarks.identity_fade`: which training gives a Dirac network small identity taps, and at which price.

Every network is trained on TensorFlow in float32 with the recipe `quick`, folded, and its kernels are rounded, weights
alone: each to the nearest integer, as a converter does it, and with `--by-data` so too (`"follow"`, see
docs/quantization.md). A row is the median over seeds, in brackets the lowest and the highest; of several seeds a second
table has mean and standard deviation. With `--json` what is finished stays: the same command goes on where it was
broken off, and with more seeds or methods it trains those alone.
"""

import dataclasses
import datetime
import json
import pathlib
import time

import click
import keras
import numpy as np
from rich.console import Console

from benchmarks.command import Benchmark
from dirac_keras.deployment.quantization import round_weights, signal_to_noise_db
from dirac_keras.files.atomic import write_text
from dirac_keras.folding import fold
from dirac_keras.layers import DiracConv2D
from dirac_keras.phase_out.multipliers import largest_ratio
from dirac_keras.training.building import compile_model, untrained_model
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.fitting import family_callbacks
from dirac_keras.training.folder.directory import machine, versions

# Fields of a `Method` that are shares of the epochs there.
EPOCHS = {"identity_bound_end": float, "identity_phase_out_start": float, "dissolve_epoch": int}
IMAGES = 1024  # of the training images, for rounding by data
COLUMNS = {
    "accuracy": "accuracy, %",
    "tap": "largest tap / rms",
    "nearest_8_db": "int8 nearest, dB",
    "nearest_8_accuracy": "its accuracy, %",
    "follow_8_db": "int8 by data, dB",
    "nearest_4_accuracy": "int4 nearest, %",
    "follow_4_accuracy": "int4 by data, %",
}


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes:
        fields: dict, of `TrainConfig`; those of `EPOCHS` are shares of the epochs.
        epochs: number, factor on the epochs.
    """

    fields: dict = dataclasses.field(default_factory=dict)
    epochs: float = 1

    def config(self, seed, **common):
        """`TrainConfig` of a seed."""
        epochs = round(self.epochs * common["epochs"])
        fields = {**common, **self.fields, "epochs": epochs, "seed": seed}
        fields |= {name: kind(fields[name] * epochs) for name, kind in EPOCHS.items() if name in fields}
        return TrainConfig(precision="float32", **fields)


def _faded(share, epochs=1):
    return Method({"identity_bound": 0.0, "identity_bound_end": share}, epochs=epochs)


def _bounded(ratio, share):
    return Method({"identity_bound": ratio, "identity_bound_end": share})


def _multipliers(fraction, start=1.0, from_share=0.0):
    fields = {"identity_phase_out": fraction, "identity_multiplier": start, "identity_phase_out_start": from_share}
    return Method(fields)


def _dissolved(share=0.5, kurtosis=0.0, peak=0.0):
    return Method({"dissolve_epoch": share, "kurtosis_penalty": kurtosis, "peak_penalty": peak})


METHODS = {
    "plain": Method({"parameterization": "plain"}),
    "Dirac": Method(),
    "a faded to 0 by 30 %": _faded(0.3),
    "a faded to 0 by 60 %": _faded(0.6),
    "a faded to 0 by 60 %, twice the epochs": _faded(0.6, epochs=2),
    "a faded to 0 by 90 %": _faded(0.9),
    "multipliers on a, the paper's": _multipliers(0.1),
    "multipliers on a, the paper's, from 25 %": _multipliers(0.1, 1.0, 0.25),
    "multipliers on a, from 0 by 0.005": _multipliers(0.005, 0.0),
    "decay of a, 0.01": Method({"identity_decay": 0.01}),
    "decay of a, 0.03": Method({"identity_decay": 0.03}),
    "a within b from the start": _bounded(1.0, 0.0),
    "a within b/2 from the start": _bounded(0.5, 0.0),
    "a falls to b by 50 %": _bounded(1.0, 0.5),
    "a falls to b/2 by 50 %": _bounded(0.5, 0.5),
    "a falls to b/4 by 50 %": _bounded(0.25, 0.5),
    "dissolved at 50 %": _dissolved(),
    "dissolved at 50 %, kurtosis 0.001": _dissolved(kurtosis=0.001),
    "dissolved at 50 %, kurtosis 0.003": _dissolved(kurtosis=0.003),
    "dissolved at 50 %, kurtosis 0.01": _dissolved(kurtosis=0.01),
    "dissolved at 50 %, peak 0.003": _dissolved(peak=0.003),
    "dissolved at 50 %, peak 0.01": _dissolved(peak=0.01),
    "dissolved at 50 %, peak 0.03": _dissolved(peak=0.03),
    "dissolved at 25 %, peak 0.01": _dissolved(0.25, peak=0.01),
    "dissolved at the start": _dissolved(0.0),
    "dissolved at the start, kurtosis 0.003": _dissolved(0.0, kurtosis=0.003),
    "dissolved at the start, peak 0.01": _dissolved(0.0, peak=0.01),
}


def dirac_layers(model):
    """The Dirac convolutions of a chain."""
    return [layer for layer in model.layers if isinstance(layer, DiracConv2D)]


def train_network(config, splits):
    """A trained `keras.Model`."""
    model = untrained_model(config, splits.spec, "float32")
    compile_model(model, config, splits.steps_per_epoch)
    model.fit(
        splits.train(0),
        epochs=config.epochs,
        steps_per_epoch=splits.steps_per_epoch,
        callbacks=family_callbacks(config),
        shuffle=False,  # the stream is shuffled
        verbose=0,
    )
    return model


def end_ratio(model):
    """The largest `|a| / |b|` of a filter; 0 without identities."""
    return max((largest_ratio(layer) for layer in dirac_layers(model)), default=0.0)


def measure_rounding(model, images, test_images, labels, by_data=False):
    """What rounding its kernels costs a classifier of logits: dict, names of `COLUMNS` and more -> number."""
    folded, _ = fold(model)
    reference = _outputs(folded, test_images)
    found = {"accuracy": _accuracy(reference, labels)}
    for bits in (8, 4):
        for method in ("nearest", "follow") if by_data else ("nearest",):
            rounded, layers = round_weights(folded, images, bits, method)
            outputs = _outputs(rounded, test_images)
            found[f"{method}_{bits}_db"] = float(signal_to_noise_db(reference, outputs))
            found[f"{method}_{bits}_accuracy"] = _accuracy(outputs, labels)
            found["tap"] = max(layer.max_over_rms for layer in layers)
    return found


def _outputs(model, images):
    """Not by `predict`, which would trace each network for one use."""
    parts = np.array_split(images, max(1, len(images) // 128))
    return np.concatenate([keras.ops.convert_to_numpy(model(part, training=False)) for part in parts])


def _accuracy(logits, labels):
    return 100.0 * float(np.mean(np.argmax(logits, axis=-1) == labels))


def load_arrays(splits):
    """Training images without augmentation, test images, test labels."""
    images = np.concatenate([np.asarray(batch) for batch, _ in splits.train_in_order(IMAGES)])
    test = [(np.asarray(batch), np.asarray(labels)) for batch, labels in splits.test()]
    return images, *(np.concatenate(part) for part in zip(*test, strict=True))


def table(rows, cell=None):
    """Markdown lines.

    Args:
        rows: dict, name of a method -> list of measured dicts, one a seed.
        cell: function of a list of numbers to a text; None: `_cell`.
    """
    cell = cell or _cell
    columns = {
        name: title for name, title in COLUMNS.items() if all(name in row for each in rows.values() for row in each)
    }
    lines = ["| training | " + " | ".join(columns.values()) + " | seeds |", "|---" * (len(columns) + 2) + "|"]
    for name, measured in rows.items():
        cells = [cell([row[column] for row in measured]) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {len(measured)} |")
    return lines


def _cell(values):
    spread = f" ({min(values):.1f}-{max(values):.1f})" if len(values) > 1 else ""
    return f"{np.median(values):.1f}{spread}"


def _mean(values):
    """Mean and standard deviation of the seeds, as of a sample."""
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


@click.command(cls=Benchmark)
@click.option("--data", default="digits", show_default=True)
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets.")
@click.option("--image-size", type=int, help="Side in pixels to which images are resized.")
@click.option("--max-train", type=int, help="Largest number of training images. Default: all.")
@click.option("--max-test", type=int, help="Largest number of test images. Default: all.")
@click.option("--depth", default=16, show_default=True)
@click.option("--width", default=1.0, show_default=True)
@click.option("--epochs", default=20, show_default=True)
@click.option("--seeds", default=3, show_default=True, help="Number of seeds, from 0.")
@click.option("--only", multiple=True, type=click.Choice(list(METHODS)), help="Method; may be repeated. Default: all.")
@click.option("--by-data", is_flag=True, help="Round by data as well; some minutes a network.")
@click.option("--json", "path", type=click.Path(), help="Keep the figures here; what is in the file is not repeated.")
def main(only, seeds, by_data, path, **fields):
    """Train DiracNets whose identity ends small in several ways, and measure accuracy and int8."""
    from pipelines import load_splits

    console = Console()
    common = {name: value for name, value in fields.items() if value is not None}
    path = path and pathlib.Path(path)
    record = json.loads(path.read_text()) if path and path.exists() else {"fields": common, "runs": {}}
    if record["fields"] != common:
        raise click.UsageError(f"--json: {path} holds runs of {record['fields']}, not of {common}.")
    record |= {"machine": machine(), "versions": versions(), "date": datetime.date.today().isoformat()}
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
    told = ", ".join(f"{name} {value}" for name, value in common.items())
    console.print(f"{record['machine']}; {record['date']}; {told}; {seeds} seeds from 0", highlight=False)
    rows = {name: [] for name in only or METHODS}
    for seed in range(seeds):
        splits, arrays = None, None
        for name in rows:
            key = f"{name}, seed {seed}"
            if key not in record["runs"] or (by_data and "follow_8_db" not in record["runs"][key]):
                config = METHODS[name].config(seed, **common)
                if splits is None:
                    splits = load_splits(**config.data_arguments())
                    arrays = load_arrays(splits)
                start = time.perf_counter()
                model = train_network(config, splits)
                measured = {"ratio": end_ratio(model), **measure_rounding(model, *arrays, by_data)}
                record["runs"][key] = {**measured, "seconds": time.perf_counter() - start}
                keras.backend.clear_session()
                if path:
                    write_text(path, json.dumps(record, indent=2) + "\n")
            measured = record["runs"][key]
            rows[name].append(measured)
            console.print(f"{key}: accuracy {measured['accuracy']:.1f} %, int8 to nearest "
                          f"{measured['nearest_8_db']:.1f} dB", highlight=False)  # fmt: skip
    for line in table(rows):
        print(line)
    if seeds > 1:
        print("\nmean ± standard deviation")
        print("\n".join(table(rows, _mean)))


if __name__ == "__main__":
    main()
