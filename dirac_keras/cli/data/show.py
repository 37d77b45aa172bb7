"""`dirac-keras data show`: a picture of augmented training images."""

import dataclasses
import pathlib
import re

import rich_click as click

from dirac_keras.cli.data.picture import draw
from dirac_keras.cli.options import CONTEXT, config_options, read_config, splits_of_config
from dirac_keras.cli.speech.json_option import emit, json_option
from dirac_keras.cli.speech.output import say
from dirac_keras.errors import UserError, renaming
from dirac_keras.files.amounts import counted
from dirac_keras.files.atomic import atomic_path, refuse_existing
from dirac_keras.pages import style
from dirac_keras.training.config import TrainConfig

# Of the fields of a config those that decide what the training sees.
OF_IMAGES = ("recipe", "batch_size", "seed")
NOT_SHOWN = tuple(
    field.name
    for field in dataclasses.fields(TrainConfig)
    if field.name == "data" or (field.metadata["group"] != "Data" and field.name not in OF_IMAGES)
)
SUFFIXES = (".png", ".pdf", ".svg")


@click.command("show", context_settings=CONTEXT)
@click.argument("name")
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="The picture, "
              f"{', '.join(SUFFIXES)}. Default: DATA-AUGMENTATION.png here.")  # fmt: skip
@click.option("--images", type=click.IntRange(1, 256), default=32, show_default=True, help="Number of images.")
@click.option("--step", type=click.IntRange(min=0), default=0, show_default=True, help="Training step, from 0, whose "
              "batch is drawn.")  # fmt: skip
@click.option("--download", is_flag=True, help="Download the data set if it is absent.")
@click.option("--overwrite", is_flag=True, help="Replace a picture that is there.")
@json_option("Print which images and labels the picture shows, as JSON.")
@click.option("--config", "config_file", type=click.Path(), help="JSON or TOML file with options of a training.")
@config_options(without=NOT_SHOWN)
def show(name, output, images, step, download, overwrite, as_json, config_file, **flags):
    """Draw training images as the training sees them, beside their originals.

    NAME is what `train` takes as `--data`. Left of each pair is the image that the data set holds, at the model's size;
    right of it the same image in the batch of the first step, with the label that the training gives it. The options
    below are those of `train`: with the same ones, the training sees these images.

    `dirac-keras data show cifar10 --augmentation cifar+mixup --output seen.png`
    """
    config = read_config(config_file, {**flags, "data": name})
    path = pathlib.Path(output or _default_name(name, config.augmentation))
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"`output` must end in {', '.join(SUFFIXES)}. Received output={str(path)!r}.")
    with renaming(path="output"):
        refuse_existing(path, overwrite)
    splits = splits_of_config(config, download)
    count = min(images, splits.batch_size)
    figure, shown = draw(splits, config.augmentation, step, count)
    with style(), renaming(path="output"), atomic_path(path) as temporary:
        figure.savefig(temporary)
    facts = {"data": splits.spec.name, "augmentation": config.augmentation, "seed": config.seed, "step": step}
    emit(as_json, {**facts, "output": str(path), "images": shown})
    fewer = "" if count == images else f" ({images} were asked for; a batch has {splits.batch_size})"
    say(f"{counted(count, 'image')} of step {step}{fewer}, {config.augmentation}, seed {config.seed}: {path}")


def _default_name(name, augmentation):
    """`cifar10-cifar-mixup.png`; of a folder its last name."""
    data = pathlib.PurePath(name.partition(":")[2] or name).name
    return "-".join(re.findall(r"[\w.]+", f"{data} {augmentation}")) + ".png"
