"""`dirac-keras plainify`: a residual network as a plain chain, with its certificate."""

import dataclasses
import itertools
import json
import os
import pathlib

import keras
import rich_click as click

from dirac_keras.cli.options import CONTEXT, splits_of_model
from dirac_keras.cli.output import say
from dirac_keras.cli.reading import input_option, outputs_option, reading_options
from dirac_keras.conversion.methods import METHODS, Teaching, plainify
from dirac_keras.deployment.evaluation import evaluate, preprocessed_as
from dirac_keras.errors import UserError
from dirac_keras.files.keras_file import MODEL_FILE, save_model
from dirac_keras.files.outputs import check_folded
from dirac_keras.graph.casting import has_low_precision, to_float32


@click.command(name="plainify", context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option("--method", type=click.Choice(METHODS), default="exact", show_default=True,
              help="exact: the tensor of each skip is carried through its branch and added by the branch's last "
              "convolution; the outputs stay the same. phase_out: the skips of a copy fade while it is trained, MODEL "
              "its teacher. retrain: the twin without skips is trained from the start, MODEL its teacher.")  # fmt: skip
@click.option(
    "--output",
    type=click.Path(),
    help="File to write, ending in .keras. Default: plain.keras in the run, or NAME-plain.keras beside the file.",
)
@click.option("--dense", is_flag=True, help="Write convolutions between two others without groups: far more weights, "
              "for runtimes that have no grouped convolutions.")  # fmt: skip
@click.option("--data", help="Data set: its test images for the accuracy of both networks, its training images for "
              "phase_out and retrain, which need it. Default: none.")  # fmt: skip
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets. Default: $TFDS_DATA_DIR, "
              "else ~/tensorflow_datasets.")  # fmt: skip
@click.option("--max-images", type=click.IntRange(min=1), help="Largest number of test images. Default: all.")
@click.option("--epochs", type=click.IntRange(min=1), default=Teaching.epochs, show_default=True,
              help="Epochs of phase_out and retrain; the skips are gone after half of them.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True,
              help="Images in a batch of phase_out and retrain.")  # fmt: skip
@click.option("--lr", "learning_rate", type=click.FloatRange(min=0, min_open=True), default=Teaching.learning_rate,
              show_default=True, help="Learning rate of phase_out and retrain, of SGD.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the training's random numbers.")
@click.option("--download", is_flag=True, help="Download the data set if it is absent.")
@input_option()
@outputs_option
@reading_options
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists and this program wrote it.")
@click.option("--json", "as_json", is_flag=True, help="Print the certificate as JSON.")
def plainify_command(
    model,
    method,
    output,
    dense,
    data,
    data_dir,
    max_images,
    epochs,
    batch_size,
    learning_rate,
    seed,
    download,
    input,
    outputs,
    reading,
    overwrite,
    as_json,
):
    """Make a plain chain of a residual network: no skip connections, the same outputs.

    MODEL is a `.keras` file, an old `.h5` one, or the folder of a finished run. A skip that cannot be made plain is
    named with the reason, and nothing is written. The certificate says what became of each skip, and what the plain
    network costs.

    `dirac-keras plainify resnet50.keras --output resnet50-plain.keras`
    """
    source = pathlib.Path(model)
    if output is None:
        output = source / "plain.keras" if source.is_dir() else source.with_name(f"{source.stem}-plain.keras")
    output = pathlib.Path(output)
    if output.suffix != ".keras":
        raise UserError(f"`output` must end in .keras. Received {output}.")
    if os.path.lexists(output) and not overwrite:
        raise UserError(f"output: {output} exists. Give another `output`, or `overwrite=True` to replace it.")
    check_folded(output, source / MODEL_FILE if source.is_dir() else source)
    network, metadata = reading.open(model)
    if has_low_precision(network):
        # Carried channels would be rounded at every layer, and the comparison would measure rounding alone.
        network = to_float32(network)
        if not as_json:
            say("it was trained in lower precision; the plain network computes in float32")
    if data is None and method != "exact":
        raise UserError(f'`method="{method}"` trains the network. Give `data` a name.')
    limits = {"max_test": max_images, "download": download, "data_dir": data_dir, "batch_size": batch_size}
    splits = splits_of_model(network, metadata, model, data, **limits) if data else None
    taught = {}
    if method != "exact":
        keras.utils.set_random_seed(seed)
        fed, _ = preprocessed_as(metadata.get("data"), splits, network, input)
        taught = {"train": _Epochs(fed), "teaching": Teaching(epochs=epochs, learning_rate=learning_rate)}
    plain, certificate = plainify(network, method=method, grouped=not dense, **taught)
    if splits is not None:
        certificate = _with_accuracy(certificate, network, plain, metadata.get("data"), splits, input, outputs)
    save_model(plain, output, metadata, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(certificate.to_dict()))
    else:
        say(str(certificate))
        say(f"written: {output}")


class _Epochs:
    """The training images of an epoch each time it is gone through."""

    def __init__(self, splits):
        self.steps = splits.steps_per_epoch
        self.stream = iter(splits.train(0))

    def __len__(self):
        return self.steps

    def __iter__(self):
        return itertools.islice(self.stream, self.steps)


def _with_accuracy(certificate, network, plain, data, splits, input, outputs):
    before, after = (evaluate(one, data, splits, "test", input, outputs) for one in (network, plain))
    return dataclasses.replace(
        certificate,
        accuracy_before=before["accuracy"],
        accuracy_after=after["accuracy"],
        images=before["images"],
    )
