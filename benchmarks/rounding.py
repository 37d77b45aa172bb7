"""What int8 and int4 cost a trained network, cure by cure: `python -m benchmarks.rounding RUN...`.

The network is folded and quantized with each cure alone on training images; the figures are of test images: the signal
to quantization noise ratio of the logits, weights alone and with int8 activations (simulated, one range a tensor), and
the accuracy. Of a Dirac network the identity tap of each layer stands beside the `3 sqrt(c) a / b` that its scales say.
"""

import datetime
import math
import sys
import time

import click
import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.command import Benchmark
from dirac_keras import fold
from dirac_keras.deployment.evaluation import preprocessed_as
from dirac_keras.deployment.quantization import Memory, quantize, signal_to_noise_db
from dirac_keras.deployment.quantization.identity_apart import identity_ratios
from dirac_keras.deployment.quantization.network import Network
from dirac_keras.deployment.quantization.running import run
from dirac_keras.deployment.quantization.simulation import Simulation
from dirac_keras.files.keras_file import load_model
from dirac_keras.layers import DiracConv2D
from dirac_keras.training.folder.directory import RunDirectory, machine
from pipelines import load_splits

# Name -> cures, tried alone. The first is none.
CURES = {
    "to nearest": (),
    "bias": ("bias",),
    "data": ("data",),
    "follow": ("follow",),
    "follow, channels equalized": ("follow", "equalize_activations"),
    "data, identity apart": ("data", "identity_apart"),
}


@click.command(cls=Benchmark)
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--bits", multiple=True, type=click.Choice(["8", "4"]), default=("8", "4"), show_default=True)
@click.option("--images", default=512, show_default=True, help="Training images to quantize with.")
@click.option("--test-images", default=2000, show_default=True, help="Test images to measure on, at most.")
@click.option("--max-kept", "kept", default=0.01, show_default=True, help="Share of the parameters of a last row.")
@click.option("--only", multiple=True, type=click.Choice(list(CURES)), help="Rows; may be repeated. Default: all.")
@click.option("--seed", default=0, show_default=True)
@click.option("--data-dir", help="Folder of tensorflow-datasets.")
def main(runs, bits, images, test_images, kept, only, seed, data_dir):
    """Quantize the networks of RUNS (folders of finished runs, or their .keras files) with each cure."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(f"{machine()}; {datetime.date.today()}; seed {seed}; {images} images", highlight=False)
    for path in runs:
        model, metadata = load_model(RunDirectory(path).model if not str(path).endswith(".keras") else path)
        calibration, (held_out, labels) = read(model, metadata["data"], images, test_images, data_dir)
        console.print(f"\n{model.name}, {metadata['data']['name']}, {len(held_out):,} test images", highlight=False)
        if any(isinstance(layer, DiracConv2D) for layer in model.layers):
            console.print(identity_table(model))
        for each in map(int, bits):
            console.print(cure_table(fold(model)[0], calibration, held_out, labels, each, kept, seed, only))


def read(model, data, count, test_count, data_dir):
    """`(images to quantize with, (test images, their labels))`."""
    splits = load_splits(data["name"], data_dir=data_dir, image_size=tuple(data["image_shape"][:2]))
    splits, _ = preprocessed_as(data, splits, model)
    images = np.concatenate([np.asarray(batch) for batch, _ in splits.train_in_order(count)])
    test, labels = [], []
    for batch, of in splits.test():
        test.append(np.asarray(batch))
        labels.append(np.asarray(of))
        if sum(map(len, test)) >= test_count:
            break
    return images, (np.concatenate(test)[:test_count], np.concatenate(labels)[:test_count])


def identity_table(model):
    """By layer: channels, mean |a| / |b|, the ratio that they say and the one that the folded filters have."""
    folded, _ = fold(model)
    table = Table(title="identity tap over the rms of the others", title_justify="left", header_style="bold")
    for heading in ("layer", "channels", "a / b", "3 sqrt(c) a / b", "in the folded filters"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for layer in model.layers:
        if not isinstance(layer, DiracConv2D) or layer.identity_scale is None or layer.filter_scale is None:
            continue
        scales = [np.abs(keras.ops.convert_to_numpy(each)) for each in (layer.identity_scale, layer.filter_scale)]
        *size, channels, filters = layer.kernel.shape
        count = min(channels, filters)
        by_scales = np.median(scales[0][:count] / scales[1][:count])
        measured = identity_ratios(folded.get_layer(layer.name))
        # The learned taps of a filter have norm b: their rms is b / sqrt(9 c).
        said = math.sqrt(math.prod(size) * channels) * by_scales
        table.add_row(
            layer.name,
            str(channels),
            f"{by_scales:.2f}",
            f"{said:.1f}",
            "" if measured is None else f"{np.median(measured):.1f}",
        )
    return table


def cure_table(folded, calibration, images, labels, bits, kept, seed, only=()):
    """By cure: decibels, weights alone and with int8 activations, and the accuracy, of test images."""
    network = Network(folded, images.shape[1:])
    reference = run(network, images)
    title = f"int{bits}; float: {_accuracy(reference, labels):.2%}"
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in ("cures", "weights dB", "accuracy", "and int8 activations dB", "accuracy", "kept", "seconds"):
        table.add_column(heading, justify="left" if heading == "cures" else "right")
    best, memory = None, Memory()
    for name, cures in CURES.items():
        if only and name not in only:
            continue
        start = time.perf_counter()
        rounded, report = quantize(folded, calibration, bits, cures=cures, seed=seed, memory=memory)
        rounding = [cure for cure in cures if cure in ("bias", "data", "follow")]
        if cures and report.cures != (*(cure for cure in cures if cure not in rounding), *rounding):
            table.add_row(name, f"not taken: {', '.join(report.cures)} is better", *[""] * 5)
            continue
        row = _measured(rounded, report, calibration, reference, images, labels)
        if "identity_apart" not in cures:
            best = max(best or (-math.inf, ()), (row[2], cures))
        table.add_row(name, *_cells(row), "", f"{time.perf_counter() - start:.0f}")
    if kept and best:
        start = time.perf_counter()
        rounded, report = quantize(folded, calibration, bits, cures=best[1], max_kept=kept, seed=seed, memory=memory)
        row = _measured(rounded, report, calibration, reference, images, labels)
        name = f"{', '.join(best[1]) or 'to nearest'}, layers in float"
        share = f"{len(report.kept)}: {report.kept_share:.1%}"
        table.add_row(name, *_cells(row), share, f"{time.perf_counter() - start:.0f}")
    return table


def _measured(rounded, report, calibration, reference, images, labels):
    network = Network(rounded, images.shape[1:])
    weights = run(network, images)
    outputs = Simulation(network, calibration).outputs(images, report.kept)
    return (
        signal_to_noise_db(reference, weights),
        _accuracy(weights, labels),
        signal_to_noise_db(reference, outputs),
        _accuracy(outputs, labels),
    )


def _cells(row):
    return [f"{row[0]:.1f}", f"{row[1]:.2%}", f"{row[2]:.1f}", f"{row[3]:.2%}"]


def _accuracy(logits, labels):
    return float(np.mean(logits.argmax(axis=-1) == labels))


if __name__ == "__main__":
    main()
