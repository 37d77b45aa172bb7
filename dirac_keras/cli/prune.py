"""`dirac-keras prune`: the quietest channels of a plain network taken out, what is left fine-tuned."""

import dataclasses
import logging
import os
import pathlib

import keras
import rich_click as click
from click.core import ParameterSource

from dirac_keras.cli.epochs import Epochs
from dirac_keras.cli.options import CONTEXT, check_data, check_model, splits_of_model
from dirac_keras.cli.reading import input_option, outputs_option, reading_options
from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import say
from dirac_keras.conversion.batches import Batches, accuracy_of
from dirac_keras.conversion.pruning import prune
from dirac_keras.conversion.settings import Teaching
from dirac_keras.deployment.evaluation import check_classes, preprocessed_as
from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted
from dirac_keras.files.keras_file import save_model
from dirac_keras.files.places import check_place
from dirac_keras.graph.casting import has_low_precision, to_float32

logger = logging.getLogger("dirac_keras")
LEARNING_RATE = 0.001  # a folded chain has no normalization, which bears a larger one
OF_TRAINING = ("learning_rate", "seed", "teacher", "outputs")


@click.command(name="prune", context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option("--share", type=float, required=True, help="Share of the channels to take out, from 0 to below 1.")
@click.option("--data", required=True, help="Data set: its training images say how much each channel changes, its test "
              "images the accuracy before and after.")  # fmt: skip
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets. Default: $TFDS_DATA_DIR, "
              "else ~/tensorflow_datasets.")  # fmt: skip
@click.option("--output", type=click.Path(), help="File to write, ending in .keras. Default: NAME-pruned.keras beside "
              "the file.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of fine-tuning. Default: none.")
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True, help="Images in a batch.")
@click.option("--lr", "learning_rate", type=click.FloatRange(min=0, min_open=True), default=LEARNING_RATE,
              show_default=True, help="Learning rate of fine-tuning, of SGD.")  # fmt: skip
@click.option("--teacher", type=click.Path(), help="`.keras` file or run that teaches in fine-tuning, such as the "
              "network before it was made plain. Default: the labels alone do.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the fine-tuning's random numbers.")
@click.option("--max-images", type=click.IntRange(min=1), help="Largest number of test images. Default: all.")
@click.option("--download", is_flag=True, help="Download the data set if it is absent.")
@input_option()
@outputs_option
@reading_options
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@json_option("Print what was taken out, and both accuracies, as JSON.")
@click.pass_context
def prune_command(
    context, model, share, data, data_dir, output, epochs, batch_size, learning_rate, teacher, seed, max_images,
    download, input, outputs, reading, overwrite, as_json,
):  # fmt: skip
    """Take the channels of a plain network out that change least, and fine-tune what is left.

    MODEL is a `.keras` file without skip connections, such as `plainify` and `fold` write. A channel that is taken out
    stays as its mean, in the next bias. Layers with groups keep theirs: `plainify --dense` leaves more to prune.

    `dirac-keras prune resnet-plain.keras --share 0.3 --data cifar10 --epochs 3 --teacher resnet.keras`
    """
    _refuse_without_effect(context, epochs)
    source = pathlib.Path(model)
    output = source.with_name(f"{source.stem}-pruned.keras") if output is None else pathlib.Path(output)
    if output.suffix != ".keras":
        raise UserError(f"`output` must end in .keras. Received {output}.")
    if os.path.lexists(output) and not overwrite:
        raise UserError(f"output: {output} exists. Give another `output`, or `overwrite=True` to replace it.")
    check_place(output, "output")
    check_model(model, "path")
    check_model(teacher, "teacher")
    check_data(data)
    network, metadata = reading.open(model)
    if has_low_precision(network):
        network = to_float32(network)  # moments and means in bfloat16 would be rounded away
    guide = None
    if teacher is not None:
        guide, of_guide = reading.open(teacher)
        _check_teacher(metadata.get("data") or {}, of_guide.get("data") or {}, teacher)
    limits = {"max_test": max_images, "download": download, "data_dir": data_dir, "batch_size": batch_size}
    splits = splits_of_model(network, metadata, model, data, **limits)
    check_classes(network, metadata.get("data"), splits.spec)
    fed, feed = preprocessed_as(metadata.get("data"), splits, network, input)
    if not is_quiet(as_json):
        logger.info("input: %s", feed.text)
    test, given = Batches(fed.test(), "data"), {}
    if epochs is not None:
        keras.utils.set_random_seed(seed)
        teaching = Teaching(epochs=epochs, learning_rate=learning_rate, teacher=guide is not None, outputs=outputs)
        given = {"train": Epochs(fed), "teacher": guide, "teaching": teaching}
    before, images = accuracy_of(network, test)
    pruned, report = prune(network, share, fed.train_in_order(), **given)
    after, _ = accuracy_of(pruned, test)
    save_model(pruned, output, metadata, overwrite=overwrite)
    if not is_quiet(as_json):
        say(f"{report}\naccuracy {before:.4f} -> {after:.4f} on {counted(images, 'image')}\nwritten: {output}")
    record = {"accuracy_before": before, "accuracy_after": after, "images": images, "output": str(output)}
    emit(as_json, {**dataclasses.asdict(report), **record})


def _check_teacher(data, of_teacher, path):
    """Raise UserError where both files say what the images were, and they were others."""
    for name, what in (("mean", "mean"), ("std", "deviation"), ("class_names", "names of the classes")):
        ours, theirs = data.get(name), of_teacher.get(name)
        if ours and theirs and list(ours) != list(theirs):
            raise UserError(
                f"`teacher` must have been trained on images of the same {what} as MODEL, {_first(ours)}. Received "
                f"{path}, of {_first(theirs)}."
            )


def _first(values):
    return ", ".join(map(str, values[:3])) + (", ..." if len(values) > 3 else "")


def _refuse_without_effect(context, epochs):
    """Raise UserError for an option of fine-tuning where there is none."""
    if epochs is not None:
        return
    for name in OF_TRAINING:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UserError(f"`{name}` has an effect only with `epochs`. Leave it out, or give `epochs`.")
