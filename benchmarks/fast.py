"""`python -m benchmarks.fast`: what each part of the recipe `fast` gives, and what of it helps other networks.

Every row is a training on TensorFlow or JAX, whatever Keras computes with: the recipe as it is, then with one part left
out or exchanged. The accuracies are those of the test images after each epoch (`--curve`) and at the end, alone and
averaged over flips and shifts; the seconds are those of the training steps alone. With several seeds a cell is the
mean, in brackets the lowest and the highest.
"""

import dataclasses
import functools
import json
import pathlib
import time

import click
import keras
import numpy as np
from rich.console import Console

from benchmarks.command import Benchmark
from dirac_keras.deployment.evaluation import evaluate
from dirac_keras.files.atomic import write_text
from dirac_keras.folding import fold
from dirac_keras.layers import BatchNormalization, WhitenedConv2D
from dirac_keras.models import build_fastnet
from dirac_keras.precision import dtype_policy, resolve_precision
from dirac_keras.training.building import compile_model, start_from_data, untrained_model
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.fitting import family_callbacks
from dirac_keras.training.folder.directory import machine, versions

# The settings of airbench94.py, before there was Muon, with a loss that is a mean: its rate of 11.5 for 1,024 images is
# 11.5 / (1 + 1 / (1 - momentum)), its decay of 0.0153 an L2 factor of 0.0153 / 11.5.
NESTEROV = {
    "optimizer": "sgd",
    "epochs": 10,
    "batch_size": 1024,
    "learning_rate": 1.5,
    "weight_decay": 0.00133,
    "warmup_fraction": 0.23,
    "start_fraction": 0.2,
    "end_fraction": 0.07,
    "lookahead_steps": 5,
}


@dataclasses.dataclass(frozen=True)
class Change:
    """What a row has otherwise than the recipe.

    Attributes:
        fields: dict, of `TrainConfig`.
        augmentation: dict, fields of `pipelines.augmentation.Augmentation`.
        build: dict, arguments of `build_fastnet`.
        whitened: bool; False: the first convolution is an ordinary one, which trains.
    """

    fields: dict = dataclasses.field(default_factory=dict)
    augmentation: dict = dataclasses.field(default_factory=dict)
    build: dict = dataclasses.field(default_factory=dict)
    whitened: bool = True


def _with_scale(**options):
    return BatchNormalization(**{**options, "scale": True})


# Of the network and the recipe `fast`, by what is left out, in brackets what takes its place, or added.
PARTS = {
    "nothing": Change(),
    "without whitening": Change(whitened=False),
    "without the Dirac start": Change({"kernel_initializer": "he_normal"}),
    "Dirac layers for the start": Change({"parameterization": "dirac", "filter_scale": 0.3}),
    "I + W for the start": Change({"parameterization": "dirac_unscaled"}),
    "ReLU for GELU": Change({"activation": "relu"}),
    "without the rate of beta": Change({"beta_rate": 1.0}),
    "with a scale in BatchNormalization": Change(build={"normalization": _with_scale}),
    "without the scale of the head": Change(build={"head_scale": 1.0}),
    "without label smoothing": Change({"label_smoothing": 0.0}),
    "a constant rate": Change({"schedule": "constant"}),
    "random for alternating flips": Change(augmentation={"alternating": False}),
    "without flips": Change(augmentation={"flip": False, "alternating": False}),
    "without shifts": Change(augmentation={"padding": 0}),
    "Nesterov SGD for Muon": Change(NESTEROV),
    "with averaging": Change({"lookahead_steps": 5}),
    "with a rise of the rate": Change({"warmup_fraction": 0.15}),
    "a step of Muon of 0.17": Change({"muon_learning_rate": 0.17}),
    "that and a momentum of Muon of 0.75": Change({"muon_learning_rate": 0.17, "muon_momentum": 0.75}),
    "batches of 2,000": Change({"batch_size": 2000, "learning_rate": 1.656}),
}
# Of today's `quick`, by what of `fast` is added.
ADDED = {
    "quick": Change(),
    "alternating flips, shifts of 2": Change({"augmentation": "alternating"}),
    "averaging": Change({"lookahead_steps": 5}),
    "rate of beta 8": Change({"beta_rate": 8.0}),
    "label smoothing 0.2": Change({"label_smoothing": 0.2}),
    "rate from 0.2 to 0.07": Change({"start_fraction": 0.2, "end_fraction": 0.07}),
    "Muon": Change({"optimizer": "muon", "muon_learning_rate": 0.1}),
    "Muon, a step of 0.05": Change({"optimizer": "muon", "muon_learning_rate": 0.05}),
    "flips, Muon": Change({"augmentation": "alternating", "optimizer": "muon", "muon_learning_rate": 0.1}),
    "flips, averaging, Muon": Change(
        {"augmentation": "alternating", "lookahead_steps": 5, "optimizer": "muon", "muon_learning_rate": 0.1}
    ),
}
NETWORKS = {
    "fastnet": ({"recipe": "fast"}, PARTS),
    "diracnet-28-1": ({"recipe": "quick", "depth": 28}, ADDED),
    "van-18": ({"recipe": "quick", "family": "van", "layout": "conv", "depth": 18}, ADDED),
    "conv50": ({"recipe": "quick", "family": "plainnet", "layout": "conv50", "depth": 50}, ADDED),
}
COLUMNS = {
    "accuracy": "test accuracy, %",
    "accuracy_of_views": "over 6 views, %",
    "train_accuracy": "last epoch of training, %",
    "seconds": "seconds of training",
}


class StepSeconds(keras.callbacks.Callback):
    """Seconds of the training steps, without evaluations; the first one, which compiles, as the second.

    Args:
        clock: function that gives seconds.
    """

    def __init__(self, clock=time.perf_counter):
        super().__init__()
        self._clock = clock

    def on_train_begin(self, logs=None):
        self.steps = []

    def on_train_batch_begin(self, batch, logs=None):
        self._start = self._clock()

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(self._clock() - self._start)

    def total(self, count=None):
        """Of the first `count` steps; None: of all."""
        return sum(self.steps[1:count]) + self.steps[min(1, len(self.steps) - 1)]


def make_config(network, change, common, seed):
    """`TrainConfig` of a row; `common`: dict of the command's options, which win."""
    fields = {**NETWORKS[network][0], **change.fields, **common, "seed": seed}
    config = TrainConfig(**fields)
    if config.family == "van":  # half of the epochs suits deep networks, see docs/van.md
        config = TrainConfig(**fields, phase_out_end=config.epochs / 2)
    return config


def make_model(change, config, splits):
    """The untrained network of a row."""
    policy = resolve_precision(config.precision)[0]
    if not change.build and change.whitened:
        model = untrained_model(config, splits.spec, policy)
    else:
        keras.utils.set_random_seed(config.seed)
        build = functools.partial(build_fastnet, config.depth, config.width, splits.spec.num_classes)
        with dtype_policy(policy):
            model = build(splits.spec.image_shape, config.parameterization, config.activation, **change.build)
    if change.whitened:
        start_from_data(model, splits)
        return model
    return keras.models.clone_model(model, clone_function=_ordinary)


def _ordinary(layer):
    """A layer anew, in place of the whitened convolution one that trains."""
    if not isinstance(layer, WhitenedConv2D):
        return type(layer).from_config(layer.get_config())
    options = {"use_bias": layer.use_bias, "name": layer.name, "dtype": layer.dtype_policy}
    return keras.layers.Conv2D(layer.filters, layer.kernel_size, **options)


def train_row(network, change, common, seed, curve):
    """One training: dict, names of `COLUMNS` and more -> number."""
    from pipelines import load_splits

    config = make_config(network, change, common, seed)
    splits = load_splits(**config.data_arguments(), eval_batch_size=500)
    if change.augmentation:
        splits = dataclasses.replace(
            splits, augmentation=dataclasses.replace(splits.augmentation, **change.augmentation)
        )
    model = make_model(change, config, splits)
    compile_model(model, config, splits.steps_per_epoch)
    seconds = StepSeconds()
    history = model.fit(
        splits.train(0),
        epochs=config.epochs,
        steps_per_epoch=splits.steps_per_epoch,
        validation_data=splits.test() if curve else None,
        callbacks=[*family_callbacks(config), seconds],
        shuffle=False,  # the stream is shuffled
        verbose=0,
    ).history
    found = {
        name: evaluate(model, None, splits, input="standardized", test_time_augmentation=views)["accuracy"]
        for name, views in (("accuracy", "none"), ("accuracy_of_views", "flip_shift"))
    }
    folded, _ = fold(model)
    found["folded_accuracy"] = evaluate(folded, None, splits, input="standardized")["accuracy"]
    return {
        **{name: 100 * value for name, value in found.items()},
        "train_accuracy": 100 * history["accuracy"][-1],
        "seconds": seconds.total(),
        "step_milliseconds": 1e3 * float(np.median(seconds.steps)),
        "curve": [100 * value for value in history.get("val_accuracy", [])],
        "train_curve": [100 * value for value in history["accuracy"]],
    }


def table(rows):
    """Markdown lines; `rows`: dict, name of a row -> list of measured dicts."""
    lines = ["| change | " + " | ".join(COLUMNS.values()) + " | seeds |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, measured in rows.items():
        cells = [_cell([row[column] for row in measured], column) for column in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {len(measured)} |")
    return lines


def _cell(values, column):
    digits = 0 if column == "seconds" else 2
    spread = f" ({min(values):.{digits}f}-{max(values):.{digits}f})" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


@click.command(cls=Benchmark)
@click.option("--network", type=click.Choice(list(NETWORKS)), default="fastnet", show_default=True)
@click.option("--leave-out", "names", multiple=True, help="Row; may be repeated. Default: all. --list prints them.")
@click.option("--list", "is_list", is_flag=True, help="Print the rows of the network and stop.")
@click.option("--data", default="cifar10", show_default=True)
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets.")
@click.option("--max-train", type=int, help="Largest number of training images. Default: all.")
@click.option("--max-test", type=int, help="Largest number of test images. Default: all.")
@click.option("--epochs", type=int, help="Default: the recipe's.")
@click.option("--batch-size", type=int, help="Default: the recipe's.")
@click.option("--width", type=float, help="Default: the network's.")
@click.option("--precision", help="Default: auto.")
@click.option("--seeds", default=1, show_default=True, help="Number of seeds, from 0.")
@click.option("--curve", is_flag=True, help="Test after each epoch too.")
@click.option("--json", "path", type=click.Path(), help="Keep the figures here; what is in the file is not repeated.")
def main(network, names, is_list, seeds, curve, path, **fields):
    """Train a network with a recipe, and with one part of it left out or exchanged at a time."""
    console = Console()
    changes = NETWORKS[network][1]
    if is_list:
        for name in changes:
            print(name)
        return
    unknown = [name for name in names if name not in changes]
    if unknown:
        raise click.UsageError(f"--leave-out: {unknown[0]!r} is no row of {network}; --list prints them.")
    common = {name: value for name, value in fields.items() if value is not None}
    path = path and pathlib.Path(path)
    record = {"network": network, "fields": common, "runs": {}}
    if path and path.exists():
        record = json.loads(path.read_text())
        if (record["network"], record["fields"]) != (network, common):
            raise click.UsageError(f"--json: {path} holds runs of {record['network']} with {record['fields']}.")
    record |= {"machine": machine(), "versions": versions(), "backend": keras.backend.backend()}
    rows = {name: [] for name in names or changes}
    for seed in range(seeds):
        for name in rows:
            key = f"{name}, seed {seed}"
            if key not in record["runs"]:
                record["runs"][key] = train_row(network, changes[name], common, seed, curve)
                keras.backend.clear_session()
                if path:
                    write_text(path, json.dumps(record, indent=2) + "\n")
            row = record["runs"][key]
            rows[name].append(row)
            console.print(f"{key}: {row['accuracy']:.2f} %, over views {row['accuracy_of_views']:.2f} %, "
                          f"{row['seconds']:.0f} s; {', '.join(f'{value:.1f}' for value in row['curve'])}",
                          highlight=False)  # fmt: skip
    for line in table(rows):
        print(line)


if __name__ == "__main__":
    main()
