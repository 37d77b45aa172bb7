"""What ImageNet's input and training take: `python -m benchmarks.imagenet`.

The ceiling of an input pipeline is a chain with the same reading, order and parallelism that decodes and does nothing
else. For training that is the decoding of the very windows the training looks at, drawn as it draws them; decoding all
of each image is given beside it, and what one would write first: decode all, cut, resize with antialiasing.
"""

import datetime
import itertools
import resource
import statistics
import sys
import time

import click
import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from benchmarks.command import Benchmark
from benchmarks.timing import time_in_turn
from dirac_keras.models import build_diracnet
from dirac_keras.precision import dtype_policy
from dirac_keras.training.folder.directory import machine
from dirac_keras.training.optimization.losses import SmoothedCrossentropy
from dirac_keras.training.optimization.optimizers import CoupledSGD
from pipelines import DataError, augment, encoded, load_splits, orders, streams
from pipelines.arrays import streams as array_streams
from pipelines.splits_base import spec_view

BATCH = 30
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


@click.command(cls=Benchmark)
@click.argument("names", nargs=-1, type=click.Choice(["input", "readers", "step"]))
@click.option("--data-dir", help="Folder of tensorflow-datasets.")
@click.option("--rounds", default=9, show_default=True, help="Values for each alternative.")
@click.option("--batches", default=100, show_default=True, help=f"Batches of {BATCH} images in a value of the input.")
@click.option("--batch-size", default=16, show_default=True, help="Images in a training step.")
@click.option("--depth", default=18, show_default=True)
def main(names, data_dir, rounds, batches, batch_size, depth):
    """Time the input pipeline and a DiracNet's training step at 224 pixels.

    NAMES: input, readers (the two of `pipelines`, side by side), step; default: all.
    """
    console = Console()
    console.print(f"{machine()}; {datetime.date.today()}", highlight=False, soft_wrap=True)
    if "input" in (names or ("input",)):
        for line in input_lines(data_dir, rounds, batches):
            console.print(line, highlight=False, soft_wrap=True)
    if "readers" in (names or ("readers",)):
        for line in reader_lines(data_dir, rounds, batches):
            console.print(line, highlight=False, soft_wrap=True)
    if "step" in (names or ("step",)):
        for line in step_lines(depth, batch_size, rounds):
            console.print(line, highlight=False, soft_wrap=True)


def input_lines(data_dir, rounds, batches):
    """Images/s of each chain, and ratios round by round."""
    try:
        splits = load_splits("imagenet2012", batch_size=BATCH, data_dir=data_dir, reader="tensorflow")
    except DataError as error:
        raise SystemExit(f"input: {error}") from None
    streams = chains(splits)
    alternatives = {name: lambda stream=stream: run_through(stream, batches) for name, stream in streams.items()}
    timings = {timing.name: timing for timing in time_in_turn(alternatives, rounds, calls=1, warmup=1)}
    for name, timing in timings.items():
        yield f"{name}: {batches * BATCH / timing.median:,.0f} images/s"
    for mine, ceiling in (
        ("training", "training, decoding its windows alone"), ("training", "training, decoding all alone"),
        ("training", "training, decode all then crop"), ("evaluation", "evaluation, decoding alone"),
    ):  # fmt: skip
        ratio, low, high = timings[ceiling].ratio_to(timings[mine])
        yield f"{mine} has {ratio:.2f} ({low:.2f}-{high:.2f}) of the images/s of: {ceiling}"


def reader_lines(data_dir, rounds, batches):
    """Images/s and processor time an image of each reader, and ratios round by round."""
    alternatives, processor = {}, {}
    for reader, evaluation_stream in (
        ("tensorflow", streams.evaluation_stream),
        ("numpy", array_streams.evaluation_stream),
    ):
        try:
            splits = load_splits("imagenet2012", batch_size=BATCH, data_dir=data_dir, reader=reader)
        except DataError as error:
            raise SystemExit(f"readers: {error}") from None
        test = splits.test_examples
        many = test.take(np.resize(np.arange(len(test)), batches * BATCH))
        for part, stream in (
            ("training", splits.train()),
            ("evaluation", evaluation_stream(many, spec_view(splits.spec), BATCH)),
        ):
            name = f"{part}, {reader}"
            processor[name] = []
            alternatives[name] = lambda stream=stream, seen=processor[name]: watched(stream, batches, seen)
    timings = {timing.name: timing for timing in time_in_turn(alternatives, rounds, calls=1, warmup=1)}
    for name, timing in timings.items():
        milliseconds = statistics.median(processor[name]) / (batches * BATCH) * 1e3
        yield f"{name}: {batches * BATCH / timing.median:,.0f} images/s, {milliseconds:.2f} ms of a core an image"
    for part in ("training", "evaluation"):
        ratio, low, high = timings[f"{part}, tensorflow"].ratio_to(timings[f"{part}, numpy"])
        yield f"{part}: numpy has {ratio:.2f} ({low:.2f}-{high:.2f}) of the images/s of tensorflow"


def watched(stream, batches, seen):
    """Read so many batches, and note the processor time that they took."""
    start = time.process_time()
    for _ in itertools.islice(stream, batches):
        pass
    seen.append(time.process_time() - start)


def run_through(stream, batches):
    """A fresh iterator each time: one that waits would keep filling its buffers while another is timed."""
    for _ in stream.take(batches):
        pass


def chains(splits):
    """`{name: tf.data stream}`; those of evaluation repeat the same images."""
    train, test, view = splits.train_examples, splits.test_examples, spec_view(splits.spec)
    shape = view.image_shape

    def windows(data, position, heights, widths, place):
        window = augment.crop_window(tf.io.extract_jpeg_shape(data)[:2], heights, widths, place)
        return tf.io.decode_and_crop_jpeg(data, window, channels=3)[0, 0, 0]

    def whole(data, *_):
        return encoded.decode(data, 3)[0, 0, 0]

    def then_crop(data, position, heights, widths, place):
        image = encoded.decode(data, 3)
        top, left, rows, columns = tf.unstack(augment.crop_window(tf.shape(image)[:2], heights, widths, place))
        crop = tf.image.resize(image[top : top + rows, left : left + columns], shape[:2], antialias=True)
        return augment.normalize(tf.ensure_shape(crop, shape), view.mean, view.std)

    order = orders.epoch_orders(len(train), BATCH, splits.steps_per_epoch, splits.seed)
    drawn = order.flat_map(drawn_crops)
    many = test.take(np.resize(np.arange(len(test)), 10**5))
    in_order = tf.data.Dataset.range(len(many))
    return {
        "training": splits.train(),
        "training, decoding its windows alone": finished(drawn, train, windows),
        "training, decoding all alone": finished(drawn, train, whole),
        "training, decode all then crop": finished(drawn, train, then_crop),
        "evaluation": streams.evaluation_stream(many, view, BATCH),
        "evaluation, decoding alone": finished(in_order, many, whole),
    }


def drawn_crops(step, positions):
    """The elements of the training stream, without mirroring."""
    draws = augment.crop_draws(tf.stack([step, 0]), BATCH)
    return tf.data.Dataset.from_tensor_slices((positions, draws.heights, draws.widths, draws.place))


def finished(elements, examples, load):
    """A chain like `streams.train_stream` with another way to load an image."""
    stream = streams.load_encoded(elements, examples, load).batch(BATCH)
    return streams.one_core_an_operation(
        stream.prefetch(streams.PREFETCH_BATCHES).with_options(streams.stream_options())
    )


def step_lines(depth, batch_size, rounds):
    """Training step of a DiracNet at 224 pixels with 1,000 classes, in each precision."""
    generator = np.random.default_rng(0)
    images = keras.ops.convert_to_tensor(generator.normal(size=(batch_size, 224, 224, 3)).astype("float32"))
    labels = keras.ops.convert_to_tensor(generator.integers(0, 1000, batch_size))
    for name, policy in POLICIES.items():
        with dtype_policy(policy):
            model = build_diracnet(depth, num_classes=1000, input_shape=(224, 224, 3), layout="imagenet")
        model.compile(CoupledSGD(0.01, l2=1e-4), SmoothedCrossentropy(), jit_compile=False)
        model.train_on_batch(images, labels)  # compiles
        seconds, losses = [], []
        for _ in range(max(rounds, 20)):
            start = time.perf_counter()
            losses.append(float(model.train_on_batch(images, labels)))
            seconds.append(time.perf_counter() - start)
        median = statistics.median(seconds)
        finite = "finite" if np.isfinite(losses).all() else "not finite"
        unit = 1 if sys.platform == "darwin" else 1024
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
        yield (
            f"DiracNet-{depth} {name}, batch {batch_size}: {median:.2f} s a step "
            f"({min(seconds):.2f}-{max(seconds):.2f}), {batch_size / median:.1f} images/s; {len(losses)} steps, losses "
            f"{finite}, {losses[0]:.2f} to {losses[-1]:.2f}; {memory:.1f} GB of memory at most, of the process so far"
        )


if __name__ == "__main__":
    main()
