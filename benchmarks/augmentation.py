"""What each augmentation costs: `python -m benchmarks.augmentation`, in the reader of Keras' backend.

Images are random and in memory, so that nothing is decoded. Processor time is taken, which other programs on the
machine do not change much: images a second are those of one core. With `--keras` the layers of Keras that do the same
are timed on the same batches, as they would stand in a `tf.data` chain or, on JAX, before the step.
"""

import datetime
import itertools
import statistics
import time

import click
import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.command import Benchmark
from dirac_keras.training.folder.directory import machine
from pipelines import from_arrays

BATCH = 128
IDLE_SECONDS, IDLE_SHARE = 1.0, 0.01
AUGMENTATIONS = (
    "none",
    "cifar",
    "erasing:1",
    "mixup",
    "cutmix",
    "jitter",
    "randaugment",
    "autoaugment",
    "autoaugment:imagenet",
)
ALL = "cifar+randaugment+erasing+mixup+cutmix"
LAYERS = {
    "MixUp": lambda: keras.layers.MixUp(),
    "CutMix": lambda: keras.layers.CutMix(),
    "RandomErasing": lambda: keras.layers.RandomErasing(factor=1.0),
    "RandomColorJitter": lambda: keras.layers.RandomColorJitter(
        value_range=(0, 255), brightness_factor=0.4, contrast_factor=0.4, saturation_factor=0.4
    ),
    "RandAugment": lambda: keras.layers.RandAugment(value_range=(0, 255), num_ops=2, factor=0.9),
}


@click.command(cls=Benchmark)
@click.option("--sizes", default="32,224", show_default=True, help="Sides of the images in pixels.")
@click.option(
    "--rounds", default=5, show_default=True, help="Values for each alternative, of which the median is told."
)
@click.option("--batches", default=8, show_default=True, help=f"Batches of {BATCH} images in a value, at 32 pixels.")
@click.option("--keras", "with_keras", is_flag=True, help="Time the layers of Keras too.")
def main(sizes, rounds, batches, with_keras):
    """Images a second of one core for each augmentation."""
    console = Console(width=120)
    backend = keras.backend.backend()
    console.print(
        f"{machine()}; Keras {keras.version()} on {backend}; {datetime.date.today()}; seed 0, median of {rounds}",
        highlight=False,
        soft_wrap=True,
    )
    sizes = [int(size) for size in sizes.split(",")]
    columns = [_column(size, rounds, max(1, batches * 32 // size), with_keras) for size in sizes]
    table = Table("augmentation", *itertools.chain(*((f"{size} px: images/s", "µs an image") for size in sizes)))
    for name in columns[0]:
        table.add_row(
            name, *itertools.chain(*((f"{1 / column[name]:,.0f}", f"{1e6 * column[name]:,.0f}") for column in columns))
        )
    console.print(table)


def _column(size, rounds, batches, with_keras):
    """Name -> seconds of processor time an image."""
    images = np.random.default_rng(0).integers(0, 256, (2 * BATCH, size, size, 3), dtype=np.uint8)
    labels = np.arange(2 * BATCH) % 10
    works = {
        name: _stream(images, labels, f"none+{name}" if name not in ("none", "cifar") else name)
        for name in AUGMENTATIONS
    }
    works[ALL] = _stream(images, labels, ALL)
    if with_keras:
        works |= {f"keras.layers.{name}": _layer(images, labels, make()) for name, make in LAYERS.items()}
    seconds = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(work(batches))
    return {name: statistics.median(values) for name, values in seconds.items()}


def _stream(images, labels, augmentation):
    splits = from_arrays((images, labels), test=(images[:10], labels[:10]), batch_size=BATCH, augmentation=augmentation)
    stream = iter(splits.train())
    next(stream)

    return _timed(stream.__next__)


def _layer(images, labels, layer):
    """Batches that a layer has augmented, labels one-hot where it takes them."""
    given = {"images": images[:BATCH].astype("float32"), "labels": np.eye(10, dtype="float32")[labels[:BATCH]]}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        stream = iter(tf.data.Dataset.from_tensors(given).repeat().map(lambda batch: layer(batch, training=True)))
        call = stream.__next__
    else:
        call = lambda: np.asarray(layer(given, training=True)["images"])  # noqa: E731
    call()
    return _timed(call)


def _timed(call):
    """Function of a number of batches: seconds of processor time an image, what is prepared behind them included."""

    def work(batches):
        begin = _idle()
        for _ in range(batches):
            call()
        return (_idle() - begin) / (batches * BATCH)

    return work


def _idle():
    """Processor time once no thread prepares batches any more: each batch that is taken has one prepared."""
    before = time.process_time()
    while True:
        time.sleep(IDLE_SECONDS)
        now = time.process_time()
        if now - before < IDLE_SHARE * IDLE_SECONDS:
            return now
        before = now


if __name__ == "__main__":
    main()
