"""What fine-tuning on the grid gives beside rounding: `python -m benchmarks.finetuning RUN...`.

The figures are of test images: the signal to quantization noise ratio of the logits, weights alone and with int8
activations (simulated, one range a tensor), and the accuracy with these.
"""

import datetime
import time

import click
from rich.console import Console
from rich.table import Table

from benchmarks.command import Benchmark
from benchmarks.rounding import _cells, _measured, read
from dirac_keras import fold
from dirac_keras.deployment.quantization import finetune, quantize
from dirac_keras.deployment.quantization.network import Network
from dirac_keras.deployment.quantization.ordering import relu_before_pool
from dirac_keras.deployment.quantization.running import run
from dirac_keras.files.keras_file import load_model
from dirac_keras.training.folder.directory import RunDirectory, machine


@click.command(cls=Benchmark)
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--bits", multiple=True, type=click.Choice(["8", "4"]), default=("8", "4"), show_default=True)
@click.option("--images", default=2048, show_default=True, help="Training images to round and to fine-tune with.")
@click.option("--test-images", default=2000, show_default=True, help="Test images to measure on, at most.")
@click.option("--epochs", default=10, show_default=True)
@click.option("--learning-rate", default=0.03, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--data-dir", help="Folder of tensorflow-datasets.")
def main(runs, bits, images, test_images, epochs, learning_rate, seed, data_dir):
    """Round and fine-tune the networks of RUNS (folders of finished runs, or their .keras files)."""
    console = Console()
    console.print(f"{machine()}; {datetime.date.today()}; seed {seed}; {images} images", highlight=False)
    for path in runs:
        model, metadata = load_model(RunDirectory(path).model if not str(path).endswith(".keras") else path)
        calibration, (test, labels) = read(model, metadata["data"], images, test_images, data_dir)
        folded, _ = relu_before_pool(fold(model)[0])
        reference = run(Network(folded, test.shape[1:]), test)
        for each in map(int, bits):
            table = Table(title=f"{model.name}, int{each}", title_justify="left", header_style="bold")
            for heading in ("", "weights dB", "accuracy", "and int8 activations dB", "accuracy", "seconds"):
                table.add_column(heading, justify="left" if not heading else "right")
            for start in ("nearest", "follow"):
                begin = time.perf_counter()
                rounded, report = quantize(folded, calibration, each, cures=() if start == "nearest" else (start,))
                row = _measured(rounded, report, calibration, reference, test, labels)
                table.add_row(start, *_cells(row), f"{time.perf_counter() - begin:.0f}")
                begin = time.perf_counter()
                options = {"epochs": epochs, "learning_rate": learning_rate, "start": start, "seed": seed}
                trained, _ = finetune(folded, calibration, each, **options)
                row = _measured(trained, report, calibration, reference, test, labels)
                table.add_row(f"{start}, fine-tuned", *_cells(row), f"{time.perf_counter() - begin:.0f}")
            console.print(table)


if __name__ == "__main__":
    main()
