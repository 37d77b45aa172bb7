"""`python -m benchmarks.options_on_images`: what each option of a training gives a convolutional network in equal time.

Each row is the recipe `quick` with one thing changed, for as many epochs; an option whose step takes longer than the
recipe's gets fewer images for it. Step times are the processor's, not the clock's, so that other work on the machine
does not decide them: give each process one core (`taskset -c 0 python -m ...`). A run is a folder in `--workdir`; the
same command resumes what was interrupted and reads what is finished, and several processes may share the folder if
each is given other seeds or options.
"""

import dataclasses
import json
import pathlib
import tempfile
import time

import click
import keras
from rich.console import Console

from benchmarks.command import Benchmark
from benchmarks.finetuning_start import spread, where_and_when
from dirac_keras.errors import UserError
from dirac_keras.files.atomic import write_text
from dirac_keras.precision import resolve_precision
from dirac_keras.training import TrainConfig, train
from pipelines import load_splits

RECIPE = "recipe"
OPTIONS = {
    RECIPE: {},
    "optimizer muon": {"optimizer": "muon"},
    "optimizer adamw": {"optimizer": "adamw"},
    "optimizer lion": {"optimizer": "lion"},
    "schedule cosine": {"schedule": "cosine"},
    "clip-norm 1": {"clip_norm": 1.0},
    "label-smoothing 0": {"label_smoothing": 0.0},
    "dropout 0.1": {"dropout": 0.1},
    "augmentation cifar+mixup 0.2": {"augmentation": "cifar+mixup:0.2"},
    "augmentation cifar+cutmix": {"augmentation": "cifar+cutmix"},
    "augmentation cifar+randaugment": {"augmentation": "cifar+randaugment"},
    "augmentation cifar+erasing": {"augmentation": "cifar+erasing"},
    "muon, cosine": {"optimizer": "muon", "schedule": "cosine"},
}
HEADINGS = ("option", "time of a step", "images an epoch", "test accuracy, %", "difference, seed by seed")
NO_MORE = 1.1  # times the recipe's step, up to which images are as many: as far off as the measurement itself may be
PILOT_STEPS, PILOT_EPOCHS, ROUNDS = 10, 3, 4  # the first epoch of a pilot compiles


class EpochSeconds(keras.callbacks.Callback):
    """Seconds that all threads of this process have computed in each epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.process_time() - self._start)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all trainings have in common: fields of `TrainConfig`, `images` an epoch of the recipe, `workdir`."""

    network: dict
    images: int
    data_dir: str | None
    workdir: pathlib.Path
    precision: str = "float32"

    def config(self, option, seed, **more):
        fields = {"recipe": "quick", "max_train": self.images, "precision": self.precision, **self.network}
        fields |= OPTIONS[option]
        fields |= {"seed": seed, "validation_freq": self.network["epochs"]}  # only the last epoch's figure is read
        return TrainConfig(**fields | more)

    def run(self, config, folder, callbacks=()):
        config = dataclasses.replace(config, data_dir=None if config.data == "digits" else self.data_dir)
        splits = load_splits(**config.data_arguments())
        return train(config, splits, folder, callbacks=callbacks, console=Console(quiet=True))


@click.command(cls=Benchmark)
@click.option("--data", default="cifar10", show_default=True)
@click.option("--data-dir", help="Folder of the data sets. Default: $TFDS_DATA_DIR.")
@click.option("--depth", default=28, show_default=True)
@click.option("--width", default=1.0, show_default=True)
@click.option("--epochs", default=3, show_default=True)
@click.option("--batch-size", default=128, show_default=True)
@click.option("--images", default=16_000, show_default=True, help="Of an epoch, where a step takes the recipe's time.")
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--only", multiple=True, type=click.Choice(OPTIONS), help="Options to train. Default: all.")
@click.option("--precision", default="auto", show_default=True, help="Of the trainings, as for `dirac-keras train`.")
@click.option("--workdir", type=click.Path(path_type=pathlib.Path), default="runs/options", show_default=True)
def main(data, data_dir, depth, width, epochs, batch_size, images, seeds, only, precision, workdir):
    """Train, and print a row of a Markdown table for each option: means over seeds, and their range."""
    precision, _ = resolve_precision(precision)
    network = {"data": data, "depth": depth, "width": width, "epochs": epochs, "batch_size": batch_size}
    setting = Setting(network, images, data_dir, workdir, precision)
    seeds, names = [int(part) for part in seeds.split(",")], list(dict.fromkeys([RECIPE, *(only or OPTIONS)]))
    console = Console(width=10_000, highlight=False, markup=False)
    console.print(where_and_when(precision))
    costs = costs_of(setting, names)
    figures = {name: {} for name in names}
    for seed in seeds:
        for name in names:
            figures[name][seed] = accuracy_of(setting, name, seed, costs[name])
    for cells in (HEADINGS, ["---"] * len(HEADINGS), *rows_of(setting, figures, costs)):
        console.print(f"| {' | '.join(cells)} |")


def costs_of(setting, names):
    """Dict: the time of a step of each option in that of the recipe.

    Measured in turn, `ROUNDS` times, and kept in `workdir/costs.json`: the least value of each counts, since whatever
    else the machine does only adds to it.
    """
    path = setting.workdir / "costs.json"
    said = {**setting.network, "precision": setting.precision}
    file = json.loads(path.read_text()) if path.exists() else {"setting": said, "seconds": {}}
    if file["setting"] != said:
        raise UserError(
            f"workdir: {path} is of another setting, {file['setting']}; now it is {said}. Give another `workdir`."
        )
    kept = file["seconds"]
    for done in range(ROUNDS):
        for name in names:
            if len(kept.setdefault(name, [])) <= done:
                kept[name].append(_step_seconds(setting, name))
                setting.workdir.mkdir(parents=True, exist_ok=True)
                write_text(path, json.dumps(file, indent=2) + "\n")
    return {name: min(kept[name]) / min(kept[RECIPE]) for name in names}


def _step_seconds(setting, name):
    """Seconds of the processor in a step: the least of the epochs after the first."""
    clock = EpochSeconds()
    batch = setting.network["batch_size"]
    config = setting.config(name, 0, epochs=PILOT_EPOCHS, max_train=PILOT_STEPS * batch, max_test=batch)
    with tempfile.TemporaryDirectory() as folder:
        setting.run(config, pathlib.Path(folder) / "pilot", [clock])
    return min(clock.seconds[1:]) / (config.max_train // batch)


def images_of(setting, cost):
    """Training images an epoch that take the time of the recipe's: whole batches."""
    batch = setting.network["batch_size"]
    return setting.images if cost <= NO_MORE else max(1, int(setting.images / cost / batch)) * batch


def accuracy_of(setting, name, seed, cost):
    """Test accuracy of a run."""
    config = setting.config(name, seed, max_train=images_of(setting, cost))
    folder = name.replace(" ", "-").replace("+", "-").replace(",", "")
    keras.utils.clear_session()
    return setting.run(config, setting.workdir / f"{folder}-seed{seed}").summary["test_accuracy"]


def rows_of(setting, figures, costs):
    """The cells of each option's row."""
    base = figures[RECIPE]
    for name, found in figures.items():
        difference = [100 * (found[seed] - base[seed]) for seed in found]
        yield [
            "the recipe quick" if name == RECIPE else name,
            "1" if name == RECIPE else f"{costs[name]:.2f}",
            f"{images_of(setting, costs[name]):,}",
            spread([100 * value for value in found.values()], ".2f"),
            "" if name == RECIPE else spread(difference, "+.2f"),
        ]


if __name__ == "__main__":
    main()
