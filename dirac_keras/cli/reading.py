"""What every command that reads a model takes: how its file is read, and what its images and outputs are."""

import dataclasses
import functools
import logging
import pathlib
import re

import rich_click as click

from dirac_keras.errors import UserError
from dirac_keras.files.keras_file import MODEL_FILE, load_model
from dirac_keras.graph.finite import describe_nonfinite, nonfinite_weights

logger = logging.getLogger("dirac_keras")
LARGEST_SIDE = 2**16  # pixels


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a model's file is read: the flags of `reading_options`."""

    imports: tuple = ()
    unsafe: bool = False
    max_gigabytes: float | None = None

    def open(self, path, allow_nonfinite=False):
        """`(model, metadata)` of a model's file or a run's folder, without optimizer and loss.

        Args:
            path: of the file or the folder.
            allow_nonfinite: whether weights that are no numbers are a warning, where else they are an error.

        Raises: ValueError: as `load_model`, for a folder's model that is another run's, or for weights that are NaN or
            infinite, with their layers.
        """
        if self.unsafe:
            logger.warning("--unsafe: Python code that the model's file holds runs with your rights")
        options = dataclasses.asdict(self)
        model, metadata = load_model(path, compiled=False, **options)
        if pathlib.Path(path).is_dir():
            _check_own(pathlib.Path(path), metadata)
        if found := nonfinite_weights(model):
            what = f"path: {path} has weights or statistics that are not finite: {describe_nonfinite(found)}."
            if not allow_nonfinite:
                raise UserError(f"{what} Nothing it gives means anything. Train again, or take an earlier checkpoint.")
            logger.warning("%s What depends on them means nothing.", what)
        return model, metadata


def _check_own(folder, metadata):
    """Raise UserError if the model in a run's folder is another run's, by the identifiers that both keep."""
    from dirac_keras.training.folder.directory import RunDirectory

    try:
        ours = RunDirectory(folder).record().run
    except UserError:
        return  # no record, or a damaged one: nothing says whose the model is
    if ours is not None and metadata.get("run") != ours:
        raise UserError(
            f"path: {folder / MODEL_FILE} is of another run than the folder, as its config.json says. To use it "
            "all the same, give the file instead of the folder."
        )


def reading_options(command):
    """A decorator: `--import`, `--unsafe` and `--max-gigabytes`, which the command takes as `reading`."""

    @functools.wraps(command)
    def with_reading(imports, unsafe, max_gigabytes, **values):
        return command(reading=Reading(imports, unsafe, max_gigabytes), **values)

    for option in (
        click.option("--max-gigabytes", type=click.FloatRange(min=0, min_open=True), help="Memory that the model may "
                     "take, in 10^9 bytes. Default: 1 GiB, or 8 times the size of a larger file."),
        click.option("--unsafe", is_flag=True, help="Run Python code that the model's file holds, as in Lambda layers. "
                     "For files of people you trust only."),
        click.option("--import", "imports", multiple=True, metavar="MODULE", help="Module or .py file that defines "
                     "layers or functions of the model. Repeat it for several."),
    ):  # fmt: skip
        with_reading = option(with_reading)
    return with_reading


def input_option(default="what the model's file or its layers say"):
    """A decorator: `--input`; `default` is the help text's words."""
    scales = "pixels (0 to 255), unit (0 to 1), symmetric (-1 to 1), standardized (mean 0, deviation 1)"
    return click.option(
        "--input",
        metavar="SCALE",
        help=f"What the images are scaled to: {scales}, or MEANS/DEVIATIONS in units of 0 to 255, as in "
        f"124,117,104/58,57,57. Default: {default}.",
    )


def outputs_option(command):
    """A decorator: `--outputs`."""
    return click.option(
        "--outputs",
        type=click.Choice(["logits", "probabilities"]),
        help="What the model gives. Default: what its last layers say.",
    )(command)


def max_pixels_option(command):
    """A decorator: `--max-pixels`."""
    return click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        help="Largest number of pixels of an image file; a larger one is refused before it is decoded. Default: that "
        "of the model's training, else 134217728.",
    )(command)


def image_file_options(command):
    """A decorator: `--labels` and `--image-size`, for models whose file does not have them, and `--max-pixels`."""
    labels = click.option("--labels", type=_Lines(), metavar="FILE", help="Text file of the class names, one a line. "
                          "Default: those in the model's file, else numbers.")  # fmt: skip
    size = click.option("--image-size", type=_Size(), metavar="SIDE|HEIGHTxWIDTH", help="Pixels that images are scaled "
                        "to, where the model leaves its size open.")  # fmt: skip
    return labels(size(max_pixels_option(command)))


class Shape(click.ParamType):
    """`224,224,3` or `224x224x3`: sizes of one sample."""

    name = "shape"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        sides = re.split(r"[,x]", value.strip().strip("()").replace(" ", ""))
        if not all(side.isdecimal() and 0 < int(side) <= LARGEST_SIDE for side in sides):
            self.fail(f"expected sizes such as 224,224,3, without the batch; received {value!r}", param, ctx)
        return tuple(map(int, sides))


class _Size(Shape):
    name = "size"

    def convert(self, value, param, ctx):
        sides = super().convert(value, param, ctx)
        if len(sides) > 2:
            self.fail(f"expected one side or HEIGHTxWIDTH, received {value!r}", param, ctx)
        return sides * 2 if len(sides) == 1 else sides


class _Lines(click.ParamType):
    name = "file"

    def convert(self, value, param, ctx):
        if isinstance(value, list):
            return value
        try:
            lines = pathlib.Path(value).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"{value} cannot be read: {getattr(error, 'strerror', None) or error}", param, ctx)
        while lines and not lines[-1].strip():
            lines.pop()
        if not lines:
            self.fail(f"{value} holds no names", param, ctx)
        return lines
