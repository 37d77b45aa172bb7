"""`python -m benchmarks.identity_fade`: which training gives a Dirac network small identity taps, and at which price.

Every network is trained on TensorFlow in float32 with the recipe `quick`, folded, and its kernels are rounded, weights
alone: each to the nearest integer, as a converter does it, and by data (`"follow"`, see docs/quantization.md). A row is
the median over seeds, in brackets the lowest and the highest.
"""

import dataclasses
import json
import pathlib
import time

import click
import keras
import numpy as np
from keras import ops
from rich.console import Console

from dirac_keras.deployment.quantization import round_weights, signal_to_noise_db
from dirac_keras.files.atomic import write_text
from dirac_keras.folding import fold
from dirac_keras.layers import DiracConv2D
from dirac_keras.regularizers import Lagrangian
from dirac_keras.training.building import compile_model, untrained_model
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.fitting import family_callbacks
from dirac_keras.training.run_directory import machine, versions

EPOCHS = {"identity_bound_end": float, "dissolve_epoch": int}
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
        callback: function `() -> Callback`, beside those of the config.
    """

    fields: dict = dataclasses.field(default_factory=dict)
    callback: object = None

    def config(self, seed, **common):
        """`TrainConfig` of a seed."""
        fields = {**common, **self.fields, "seed": seed}
        fields |= {name: kind(fields[name] * common["epochs"]) for name, kind in EPOCHS.items() if name in fields}
        return TrainConfig(precision="float32", **fields)


class Multipliers(keras.callbacks.Callback):
    """The constraint a = 0 by multipliers, as VAN takes out its skips: eq. 7 and 8 with `1 - alpha = a`.

    Lambda begins at 0 and grows by `fraction * rate * a` after each step. On TensorFlow: it is no weight of the model.
    """

    def __init__(self, fraction=0.1):
        super().__init__()
        self.fraction = fraction

    def on_train_begin(self, logs=None):
        self._multipliers = {}
        begun = keras.Variable(1.0, trainable=False)
        for layer in dirac_layers(self.model):
            multiplier = keras.Variable(np.zeros(layer.identity_scale.shape, "float32"), trainable=False)
            layer.identity_scale.regularizer = Lagrangian(multiplier, begun)
            layer.identity_scale.constraint = keras.constraints.NonNeg()
            self._multipliers[layer.name] = multiplier
        self.model.make_train_function(force=True)

    def on_train_batch_end(self, batch, logs=None):
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        for layer in dirac_layers(self.model):
            self._multipliers[layer.name].assign_add(self.fraction * rate * ops.convert_to_tensor(layer.identity_scale))


METHODS = {
    "plain": Method({"parameterization": "plain"}),
    "Dirac": Method(),
    "a faded to 0 by 60 %": Method({"identity_bound": 0.0, "identity_bound_end": 0.6}),
    "multipliers on a": Method(callback=Multipliers),
    "a within b/2 from the start": Method({"identity_bound": 0.5, "identity_bound_end": 0.0}),
    "a within b from the start": Method({"identity_bound": 1.0, "identity_bound_end": 0.0}),
    "a falls to b by 50 %": Method({"identity_bound": 1.0, "identity_bound_end": 0.5}),
    "a falls to b/2 by 50 %": Method({"identity_bound": 0.5, "identity_bound_end": 0.5}),
    "a falls to b/4 by 50 %": Method({"identity_bound": 0.25, "identity_bound_end": 0.5}),
    "dissolved at 50 %": Method({"dissolve_epoch": 0.5, "kurtosis_penalty": 0.0}),
    "dissolved, kurtosis 0.001": Method({"dissolve_epoch": 0.5, "kurtosis_penalty": 0.001}),
    "dissolved, kurtosis 0.003": Method({"dissolve_epoch": 0.5, "kurtosis_penalty": 0.003}),
    "dissolved, kurtosis 0.01": Method({"dissolve_epoch": 0.5, "kurtosis_penalty": 0.01}),
}


def dirac_layers(model):
    """The Dirac convolutions of a chain."""
    return [layer for layer in model.layers if isinstance(layer, DiracConv2D)]


def train_network(method, config, splits):
    """A trained `keras.Model`."""
    model = untrained_model(config, splits.spec, "float32")
    compile_model(model, config, splits.steps_per_epoch)
    model.fit(
        splits.train(0),
        epochs=config.epochs,
        steps_per_epoch=splits.steps_per_epoch,
        callbacks=[*family_callbacks(config), *([method.callback()] if method.callback else [])],
        shuffle=False,  # the stream is shuffled
        verbose=0,
    )
    return model


def measure_rounding(model, images, test_images, labels):
    """What rounding its kernels costs a classifier of logits: dict, names of `COLUMNS` and more -> number."""
    folded, _ = fold(model)
    reference = folded.predict(test_images, verbose=0)
    found = {"accuracy": _accuracy(reference, labels)}
    for bits in (8, 4):
        for method in ("nearest", "follow"):
            rounded, layers = round_weights(folded, images, bits, method)
            outputs = rounded.predict(test_images, verbose=0)
            found[f"{method}_{bits}_db"] = float(signal_to_noise_db(reference, outputs))
            found[f"{method}_{bits}_accuracy"] = _accuracy(outputs, labels)
            found["tap"] = max(layer.max_over_rms for layer in layers)
    return found


def _accuracy(logits, labels):
    return 100.0 * float(np.mean(np.argmax(logits, axis=-1) == labels))


def load_arrays(splits):
    """Training images without augmentation, test images, test labels."""
    images = np.concatenate([np.asarray(batch) for batch, _ in splits.train_in_order(IMAGES)])
    test = [(np.asarray(batch), np.asarray(labels)) for batch, labels in splits.test()]
    return images, *(np.concatenate(part) for part in zip(*test, strict=True))


def table(rows):
    """Markdown lines; `rows`: dict, name of a method -> list of measured dicts."""
    lines = ["| training | " + " | ".join(COLUMNS.values()) + " | seeds |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, measured in rows.items():
        cells = [_cell([row[column] for row in measured]) for column in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {len(measured)} |")
    return lines


def _cell(values):
    spread = f" ({min(values):.1f}-{max(values):.1f})" if len(values) > 1 else ""
    return f"{np.median(values):.1f}{spread}"


@click.command()
@click.option("--data", default="digits", show_default=True)
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets.")
@click.option("--image-size", type=int, help="Side in pixels to which images are resized.")
@click.option("--max-train", type=int, help="Largest number of training images. Default: all.")
@click.option("--depth", default=16, show_default=True)
@click.option("--width", default=1.0, show_default=True)
@click.option("--epochs", default=20, show_default=True)
@click.option("--seeds", default=3, show_default=True, help="Number of seeds, from 0.")
@click.option("--only", multiple=True, type=click.Choice(list(METHODS)), help="Method; may be repeated. Default: all.")
@click.option("--json", "path", type=click.Path(), help="Keep the figures here; what is in the file is not repeated.")
def main(only, seeds, path, **fields):
    """Train DiracNets whose identity ends small in several ways, and measure accuracy and int8."""
    from pipelines import load_splits

    console = Console()
    common = {name: value for name, value in fields.items() if value is not None}
    path = path and pathlib.Path(path)
    record = json.loads(path.read_text()) if path and path.exists() else {"fields": common, "runs": {}}
    if record["fields"] != common:
        raise click.UsageError(f"--json: {path} holds runs of {record['fields']}, not of {common}.")
    record |= {"machine": machine(), "versions": versions()}
    rows = {name: [] for name in only or METHODS}
    for seed in range(seeds):
        splits, arrays = None, None
        for name in rows:
            key = f"{name}, seed {seed}"
            if key not in record["runs"]:
                config = METHODS[name].config(seed, **common)
                if splits is None:
                    splits = load_splits(**config.data_arguments())
                    arrays = load_arrays(splits)
                start = time.perf_counter()
                measured = measure_rounding(train_network(METHODS[name], config, splits), *arrays)
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


if __name__ == "__main__":
    main()
