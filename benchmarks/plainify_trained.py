"""`python -m benchmarks.plainify_trained`: trained networks made plain by each method, or given Dirac kernels.

A result is a file in `--workdir`, and the training before it a run's folder: the same command resumes what was
interrupted and reads what is finished.
"""

import dataclasses
import functools
import itertools
import json
import pathlib

import click
import keras
import numpy as np
from rich.console import Console

from benchmarks.command import Benchmark
from benchmarks.finetuning_start import spread, where_and_when
from dirac_keras import diracify, fold, plainify
from dirac_keras.conversion import Teaching
from dirac_keras.conversion.batches import Batches, accuracy_of
from dirac_keras.conversion.measuring import macs
from dirac_keras.conversion.teaching import teach
from dirac_keras.errors import RunError, UserError
from dirac_keras.files.atomic import write_text
from dirac_keras.graph.casting import to_float32
from dirac_keras.graph.samples import random_inputs
from dirac_keras.precision import resolve_precision
from dirac_keras.training import TrainConfig, train
from pipelines import load_splits

_PLACES = ("data_dir", "workdir")  # of a setting, which decide no figure
METHODS = ("exact", "phase_out", "retrain")
PLAIN_HEADINGS = ("network", "epochs", "accuracy, %", "parameters", "MACs")
DIRAC_HEADINGS = ("network", "before fine-tuning, %", "after, %", "largest relative difference before")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all trainings have in common.

    Attributes:
        data: str; data_dir: str or None.
        epochs: int, of each network from its start; tuning_epochs: of fine-tuning with Dirac kernels.
        learning_rate: number, of `Teaching`, or None; tuning_rate: of fine-tuning.
        max_train, max_test, image_size: int or None.
        precision: str, Keras' dtype policy of the trainings.
        workdir: `pathlib.Path`.
    """

    data: str
    data_dir: str | None
    epochs: int
    tuning_epochs: int
    learning_rate: float | None
    tuning_rate: float
    max_train: int | None
    max_test: int | None
    image_size: int | None
    precision: str
    workdir: pathlib.Path

    def config(self, seed, epochs=None, **network):
        return TrainConfig(
            data=self.data, data_dir=None if self.data == "digits" else self.data_dir, recipe="quick",
            epochs=epochs or self.epochs, seed=seed, max_train=self.max_train, max_test=self.max_test,
            image_size=self.image_size, precision=self.precision,
            **network,
        )  # fmt: skip

    def trained(self, name, seed, **network):
        """`(TrainResult, Splits)` of a run in a folder of its name."""
        config = self.config(seed, **network)
        splits = load_splits(**config.data_arguments())
        return train(config, splits, self.workdir / f"{name}-seed{seed}", console=Console(quiet=True)), splits

    def kept(self, name, seed, compute, **network):
        """The dict that `compute()` gives, from its file where it was computed before with the same setting."""
        path = self.workdir / f"{name}-seed{seed}.json"
        setting = {key: value for key, value in dataclasses.asdict(self).items() if key not in _PLACES} | network
        if not path.exists():
            write_text(path, json.dumps({"setting": setting, **compute()}, indent=2) + "\n")
        figures = json.loads(path.read_text())
        if figures.get("setting") != setting:
            raise UserError(
                f"workdir: {path} is of another setting, {figures.get('setting')}; now it is {setting}. Give another "
                "`workdir`, or delete the file."
            )
        return figures


class Epochs:
    """The training images of the next epoch, augmented, each time they are gone through."""

    def __init__(self, splits):
        self.steps, self.stream = splits.steps_per_epoch, iter(splits.train(0))

    def __len__(self):
        return self.steps

    def __iter__(self):
        return itertools.islice(self.stream, self.steps)


@click.command(cls=Benchmark)
@click.option("--only", type=click.Choice(["resnet", "vgg"]), help="Default: both.")
@click.option("--data", default="cifar10", show_default=True)
@click.option("--data-dir", help="Folder of the data sets. Default: $TFDS_DATA_DIR.")
@click.option("--depth", default=20, show_default=True, help="Of the ResNet.")
@click.option("--vgg-depth", default=16, show_default=True)
@click.option("--vgg-width", default=0.25, show_default=True)
@click.option("--epochs", default=15, show_default=True, help="Of each network from its start, and of each method.")
@click.option("--tuning-epochs", default=3, show_default=True, help="Of fine-tuning with Dirac kernels.")
@click.option("--lr", "learning_rate", type=float, help="Of phase_out and retrain. Default: theirs.")
@click.option("--tuning-lr", "tuning_rate", default=0.005, show_default=True, help="Of fine-tuning.")
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--max-train", type=int)
@click.option("--max-test", type=int)
@click.option("--image-size", type=int)
@click.option("--precision", default="auto", show_default=True, help="Of the trainings, as for `dirac-keras train`.")
@click.option("--workdir", type=click.Path(path_type=pathlib.Path), default="runs/plainify", show_default=True)
def main(only, depth, vgg_depth, vgg_width, seeds, precision, **options):
    """Print a Markdown table of ResNet-20 made plain, and one of VGG16 with Dirac kernels: means over seeds, ranges."""
    precision, _ = resolve_precision(precision)
    setting, seeds = Setting(precision=precision, **options), [int(part) for part in seeds.split(",")]
    console = Console(width=10_000)
    console.print(where_and_when(precision), highlight=False)
    setting.workdir.mkdir(parents=True, exist_ok=True)
    if only != "vgg":
        _print(console, PLAIN_HEADINGS, plain_rows(setting, depth, seeds))
    if only != "resnet":
        _print(console, DIRAC_HEADINGS, dirac_rows(setting, vgg_depth, vgg_width, seeds))


def _print(console, headings, rows):
    for cells in (headings, ["---"] * len(headings), *rows):
        console.print(f"| {' | '.join(cells)} |", highlight=False, markup=False)


def plain_rows(setting, depth, seeds):
    """Cells: the ResNet and the plain network of its start, also for the epochs of a method more; each method."""
    found = {}
    for seed in seeds:
        keras.utils.clear_session()
        for times, said in ((1, ""), (2, ", twice as long")):
            for name, skips in (("resnet", True), ("plain", False)):
                epochs = times * setting.epochs
                result, splits = setting.trained(
                    f"{name}{depth}" + "-longer" * (times - 1), seed, family="resnet", depth=depth, skips=skips,
                    epochs=epochs,
                )  # fmt: skip
                folded, _ = fold(result.model, verify=False)
                figures = {"accuracy": result.summary["test_accuracy"], "parameters": folded.count_params(),
                           "macs": macs(folded), "epochs": epochs}  # fmt: skip
                label = f"ResNet-{depth}{said}" if skips else f"plain-{depth}, from its start{said}"
                found.setdefault(label, []).append(figures)
                if skips and times == 1:
                    model = result.model
        for method in METHODS:
            compute = functools.partial(_made_plain, setting, model, splits, method, seed)
            figures = setting.kept(f"{method}{depth}", seed, compute, depth=depth)
            found.setdefault(f"plainify, {method}", []).append(figures | {"epochs": _in_all(setting, figures)})
    return [_plain_row(label, figures) for label, figures in found.items()]


def _in_all(setting, figures):
    return f"{setting.epochs} + {figures['epochs']}" if figures["epochs"] else setting.epochs


def _made_plain(setting, model, splits, method, seed):
    keras.utils.set_random_seed(seed)
    given = {}
    if method == "exact":
        model = to_float32(model)  # as the command does: carried channels are rounded at every layer
    else:
        teaching = Teaching(epochs=setting.epochs, learning_rate=setting.learning_rate)
        given = {"train": Epochs(splits), "teaching": teaching}
    try:
        _, certificate = plainify(model, method=method, data=splits.test(), rounds=0, **given)
    except RunError as error:  # a skip that is still there: a result too
        return {"failed": str(error), "epochs": setting.epochs}
    return {
        "accuracy": certificate.accuracy_after,
        "before": certificate.accuracy_before,
        "parameters": certificate.parameters_after,
        "macs": certificate.macs_after,
        "epochs": 0 if method == "exact" else setting.epochs,
        "note": certificate.note,
    }


def _plain_row(label, figures):
    failed = [one["failed"] for one in figures if "failed" in one]
    good = [one for one in figures if "failed" not in one]
    said = f"{len(failed)} of {len(figures)} failed: {failed[0]}" if failed else ""
    if not good:
        return [label, str(figures[0]["epochs"]), said, "-", "-"]
    first = good[0]
    accuracy = spread([100 * one["accuracy"] for one in good])
    return [
        label,
        str(first["epochs"]),
        f"{accuracy} of {len(good)}; {said}" if failed else accuracy,
        f"{first['parameters']:,}",
        "unknown" if first["macs"] is None else f"{first['macs'] / 1e6:.1f} M",
    ]


def dirac_rows(setting, depth, width, seeds):
    """Cells: VGG as it is and with Dirac kernels, each fine-tuned for as many epochs."""
    found = {}
    for seed in seeds:
        keras.utils.clear_session()
        result, splits = setting.trained(f"vgg{depth}", seed, family="vgg", depth=depth, width=width)
        for label, name in ((f"VGG{depth}", "ordinary"), (f"VGG{depth}, diracify", "dirac")):
            compute = functools.partial(_fine_tuned, setting, result.model, splits, name, seed)
            figures = setting.kept(f"vgg{depth}-{name}", seed, compute, depth=depth, width=width)
            found.setdefault(label, []).append(figures)
    return [
        [
            label,
            spread([100 * one["before"] for one in figures]),
            spread([100 * one["after"] for one in figures]),
            f"{max(one['difference'] for one in figures):.1e}",
        ]
        for label, figures in found.items()
    ]


def _fine_tuned(setting, model, splits, name, seed):
    keras.utils.set_random_seed(seed)
    student = diracify(model) if name == "dirac" else _copy(model)
    images = random_inputs(model, [(8, *model.input_shape[1:])], seed)
    ours, theirs = (np.asarray(to_float32(of).predict_on_batch(images)) for of in (student, model))
    tests = Batches(splits.test(), "data")
    before, _ = accuracy_of(student, tests)
    teaching = Teaching(epochs=setting.tuning_epochs, learning_rate=setting.tuning_rate, teacher=False)
    teach(student, None, Batches(Epochs(splits), "train"), teaching)
    after, _ = accuracy_of(student, tests)
    return {
        "before": before,
        "after": after,
        "difference": float(np.abs(ours - theirs).max() / np.abs(theirs).max()),
    }


def _copy(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


if __name__ == "__main__":
    main()
