"""`python -m benchmarks.finetuning_start`: a network trained on one data set, fine-tuned on part of another.

Beside each fine-tuned network stands one trained from random weights for as many epochs on the same images. Every run
is a folder in `--workdir`; the same command resumes what was interrupted and reads what is finished.
"""

import dataclasses
import datetime
import json
import pathlib
import statistics

import click
import keras
from rich.console import Console

from benchmarks.command import Benchmark
from dirac_keras.files.atomic import write_text
from dirac_keras.precision import resolve_precision
from dirac_keras.training import TrainConfig, train
from dirac_keras.training.folder.directory import machine, versions
from pipelines import load_splits

HEADINGS = ("share of the images", "images", "epochs", "from random weights, %", "fine-tuned, %", "difference")
MOST_EPOCHS = 4  # times as many for few images: with a hundredth an epoch is a few steps, and a test


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What the runs have in common.

    Attributes:
        source, target: str, data sets.
        network: dict, fields of `TrainConfig`.
        epochs: int, on all images of either.
        precision: str, Keras' dtype policy of the trainings.
        max_source, max_target, max_test: int or None, largest numbers of images.
    """

    source: str
    target: str
    network: dict
    epochs: int
    precision: str = "float32"
    max_source: int | None = None
    max_target: int | None = None
    max_test: int | None = None

    def source_config(self):
        """The training whose weights the others start from."""
        return TrainConfig(
            data=self.source, recipe="quick", epochs=self.epochs, max_train=self.max_source, max_test=self.max_test,
            precision=self.precision, **self.network,
        )  # fmt: skip

    def epochs_of(self, share):
        """More epochs for fewer images, `share^-1/2` times as many, up to `MOST_EPOCHS`."""
        return round(self.epochs * min(share**-0.5, MOST_EPOCHS))

    def config(self, share, images, seed, start):
        """The training on a share of the images, from `start` or from random weights."""
        own = {"recipe": "quick"} if start is None else {"recipe": "finetune", "start": str(start)}
        count = max(1, round(share * images))
        return TrainConfig(
            data=self.target, epochs=self.epochs_of(share), max_train=count, max_test=self.max_test, seed=seed,
            batch_size=min(128, max(16, count // 8)), precision=self.precision, **own, **self.network,
        )  # fmt: skip


@click.command(cls=Benchmark)
@click.option("--source", default="cifar100", show_default=True, help="Data set of the network that is fine-tuned.")
@click.option("--target", default="cifar10", show_default=True, help="Data set that it is fine-tuned on.")
@click.option("--family", default="diracnet", show_default=True)
@click.option("--depth", default=28, show_default=True)
@click.option("--width", default=1.0, show_default=True)
@click.option("--epochs", default=15, show_default=True, help="On all images; of a share of them more.")
@click.option("--shares", default="0.01,0.1,1", show_default=True, help="Of the target's training images.")
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--max-source", type=int, help="Largest number of training images of the source.")
@click.option("--max-target", type=int, help="Largest number of training images of the target.")
@click.option("--max-test", type=int, help="Largest number of test images.")
@click.option("--precision", default="auto", show_default=True, help="Of the trainings, as for `dirac-keras train`.")
@click.option("--data-dir", help="Folder of the data sets. Default: $TFDS_DATA_DIR.")
@click.option("--workdir", type=click.Path(path_type=pathlib.Path), default="runs/finetuning", show_default=True)
def main(source, target, family, depth, width, epochs, shares, seeds, precision, data_dir, workdir, **largest):
    """Train, fine-tune, and print a row of a Markdown table for each share: means over seeds, and their range."""
    console = Console(width=10_000)
    precision, _ = resolve_precision(precision)
    console.print(where_and_when(precision), highlight=False)
    network = {"family": family, "depth": depth, "width": width}
    comparison = Comparison(source, target, network, epochs, precision=precision, **largest)
    shares, seeds = [float(part) for part in shares.split(",")], [int(part) for part in seeds.split(",")]
    rows = run_all(comparison, shares, seeds, workdir, data_dir)
    for cells in (HEADINGS, ["---"] * len(HEADINGS), *map(row_of, rows)):
        console.print(f"| {' | '.join(cells)} |", highlight=False, markup=False)


def run_all(comparison, shares, seeds, workdir, data_dir=None):
    """List of dicts, one a share, also in `workdir/results.json`: `share`, `images`, `epochs`, accuracies in lists."""
    first = _accuracy_of(comparison.source_config(), workdir / "source", data_dir)
    images = load_splits(
        **comparison.config(1.0, 10**9, seeds[0], None).data_arguments() | {"data_dir": data_dir}
    ).spec.num_train
    images = min(images, comparison.max_target or images)
    rows = []
    for share in shares:
        row = {"share": share, "epochs": comparison.epochs_of(share), "seeds": list(seeds), "source_accuracy": first}
        for name, start in (("random", None), ("finetuned", workdir / "source")):
            configs = [comparison.config(share, images, seed, start) for seed in seeds]
            row["images"] = configs[0].max_train
            row[name] = [
                _accuracy_of(config, workdir / f"{name}-{share:g}-seed{config.seed}", data_dir) for config in configs
            ]
        rows.append(row)
        write_text(workdir / "results.json", json.dumps(rows, indent=2) + "\n")
    return rows


def _accuracy_of(config, folder, data_dir):
    config = dataclasses.replace(config, data_dir=None if config.data == "digits" else data_dir)
    result = train(config, load_splits(**config.data_arguments()), folder, console=Console(quiet=True))
    return result.summary["test_accuracy"]


def row_of(row):
    """The cells of a row of `run_all`."""
    random, tuned = row["random"], row["finetuned"]
    difference = [100 * (b - a) for a, b in zip(random, tuned, strict=True)]
    return [
        f"{100 * row['share']:g} %",
        f"{row['images']:,}",
        str(row["epochs"]),
        spread([100 * value for value in random]),
        spread([100 * value for value in tuned]),
        spread(difference, "+.1f"),
    ]


def where_and_when(precision):
    """The line above a table of trainings."""
    return f"{machine()}; {datetime.date.today()}; {versions()}; Keras on {keras.backend.backend()}, {precision}"


def spread(values, form=".1f"):
    """`84.2 (83.9 to 84.6)`: the mean and, of several, the range."""
    mean = format(statistics.mean(values), form)
    return mean if len(values) == 1 else f"{mean} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
