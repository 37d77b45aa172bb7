"""`dirac-keras plainify`: a residual network as a plain chain, with its certificate."""

import logging
import os
import pathlib

import keras
import rich_click as click
from click.core import ParameterSource

from dirac_keras.cli.epochs import Epochs
from dirac_keras.cli.options import CONTEXT, check_data, splits_of_model
from dirac_keras.cli.reading import input_option, outputs_option, reading_options
from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import say
from dirac_keras.conversion.methods import METHODS, plainify
from dirac_keras.conversion.settings import Teaching
from dirac_keras.deployment.evaluation import check_classes, preprocessed_as
from dirac_keras.errors import UserError
from dirac_keras.files.keras_file import MODEL_FILE, save_model
from dirac_keras.files.outputs import check_folded
from dirac_keras.files.places import check_place
from dirac_keras.graph.casting import has_low_precision, to_float32

logger = logging.getLogger("dirac_keras")
# Options that some methods leave without effect, and those that need data.
OF_TRAINING = (
    "epochs",
    "batch_size",
    "learning_rate",
    "seed",
    "teacher",
    "features",
    "feature_weight",
    "end",
    "outputs",
)
OF_DATA = ("data_dir", "max_images", "download", "input")


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
              help="Epochs of phase_out and retrain.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True,
              help="Images in a batch of phase_out and retrain.")  # fmt: skip
@click.option("--lr", "learning_rate", type=click.FloatRange(min=0, min_open=True),
              help="Highest learning rate of phase_out and retrain, of SGD. Default: 0.05, and 0.3 of retrain for a "
              "network with BatchNormalization.")  # fmt: skip
@click.option("--teacher/--no-teacher", default=True, show_default=True,
              help="Whether MODEL teaches in phase_out and retrain; else the labels alone do.")  # fmt: skip
@click.option("--features", metavar="LAYER,LAYER", help="Layers whose outputs phase_out keeps near those of MODEL. "
              "Default: none.")  # fmt: skip
@click.option("--feature-weight", type=click.FloatRange(min=0), default=Teaching.feature_weight, show_default=True,
              help="Their part of the loss.")  # fmt: skip
@click.option("--end", type=click.FloatRange(min=0, max=1, min_open=True), default=Teaching.end, show_default=True,
              help="Share of the epochs after which the skips are gone, of phase_out.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the training's random numbers.")
@click.option("--download", is_flag=True, help="Download the data set if it is absent.")
@input_option()
@outputs_option
@reading_options
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists and this program wrote it.")
@json_option("Print the certificate as JSON.")
@click.pass_context
def plainify_command(
    context,
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
    teacher,
    features,
    feature_weight,
    end,
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
    _refuse_without_effect(context, method, data, dense, features)
    source = pathlib.Path(model)
    if output is None:
        output = source / "plain.keras" if source.is_dir() else source.with_name(f"{source.stem}-plain.keras")
    output = pathlib.Path(output)
    if output.suffix != ".keras":
        raise UserError(f"`output` must end in .keras. Received {output}.")
    if os.path.lexists(output) and not overwrite:
        raise UserError(f"output: {output} exists. Give another `output`, or `overwrite=True` to replace it.")
    check_place(output, "output")
    check_folded(output, source / MODEL_FILE if source.is_dir() else source)
    if data is None and method != "exact":
        raise UserError(f'`method="{method}"` trains the network. Give `data` a name.')
    check_data(data)
    network, metadata = reading.open(model)
    if has_low_precision(network):
        # Carried channels would be rounded at every layer, and the comparison would measure rounding alone.
        network = to_float32(network)
        if not is_quiet(as_json):
            say("it was trained in lower precision; the plain network computes in float32")
    limits = {"max_test": max_images, "download": download, "data_dir": data_dir, "batch_size": batch_size}
    splits = splits_of_model(network, metadata, model, data, **limits) if data else None
    given = {}
    if splits is not None:  # what is wrong with the data, or not known of the model, is said before the work
        check_classes(network, metadata.get("data"), splits.spec)
        from dirac_keras.training.tasks import require_classes

        require_classes(splits.spec, "training a plain network in place of another")
        fed, feed = preprocessed_as(metadata.get("data"), splits, network, input)
        logger.info("input: %s", feed.text)
        given["data"] = fed.test()
    if method != "exact":
        keras.utils.set_random_seed(seed)
        layers = tuple(name.strip() for name in (features or "").split(",") if name.strip())
        given["train"] = Epochs(fed)
        given["teaching"] = Teaching(
            epochs=epochs,
            learning_rate=learning_rate,
            teacher=teacher,
            features=layers,
            feature_weight=feature_weight,
            outputs=outputs,
            end=end,
        )
    plain, certificate = plainify(network, method=method, grouped=not dense, **given)
    save_model(plain, output, metadata, overwrite=overwrite)
    emit(as_json, certificate.to_dict())
    if not is_quiet(as_json):
        say(str(certificate))
        say(f"written: {output}")


def _refuse_without_effect(context, method, data, dense, features):
    """Raise UserError for an option that was given, but decides nothing beside the others."""
    given = {name for name in context.params
             if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}  # fmt: skip

    def refuse(name, when):
        raise UserError(f"`{name}` has an effect only {when}. Leave it out.")

    for name in OF_TRAINING:
        if name in given and method == "exact":
            refuse(name, 'with `method="phase_out"` or `method="retrain"`, which train')
    if dense and method != "exact":
        refuse("dense", 'with `method="exact"`')
    if "end" in given and method == "retrain":
        refuse("end", 'with `method="phase_out"`, whose skips fade')
    if features and method == "retrain":
        refuse("features", 'with `method="phase_out"`, whose network keeps the layers of MODEL')
    if "feature_weight" in given and not features:
        refuse("feature_weight", "with `features`")
    for name in OF_DATA:
        if name in given and data is None:
            refuse(name, "with `data`")
