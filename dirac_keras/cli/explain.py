"""`dirac-keras explain`: which parts of images a network's answer rests on, as pictures, numbers and a page."""

import json
import logging
import os
import pathlib
import re

import numpy as np
import rich_click as click

from dirac_keras.cli.image_files import readable_images
from dirac_keras.cli.options import CONTEXT
from dirac_keras.cli.reading import image_file_options, input_option, outputs_option, reading_options
from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import leave_out, print_rows, say
from dirac_keras.cli.speech.spelling import spell_options
from dirac_keras.errors import RunError, UserError
from dirac_keras.explanation.explaining import METHODS
from dirac_keras.explanation.result import predicted_of
from dirac_keras.files.amounts import counted
from dirac_keras.files.atomic import atomic_path
from dirac_keras.files.manifest import Manifest, seal_folder
from dirac_keras.files.places import check_place

logger = logging.getLogger("dirac_keras")
RECORD, PAGE = "explanations.json", "index.html"
AT_ONCE = 32  # images in memory with their maps
FIELD_IMAGES = 8  # that the effective receptive fields are averaged over
BASELINES = ("black", "grey", "white")
GREY = 127.5  # where the training's mean is not known


@click.command(context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option("--method", "methods", type=click.Choice([*METHODS]), multiple=True, default=("gradcam",),
              show_default=True, help="How to explain. Repeat it for several side by side.")  # fmt: skip
@click.option("--target", metavar="CLASS", help="Name or number of the class to explain. Default: the likeliest of "
              "each image.")  # fmt: skip
@click.option("--layer", help="Layer that gradcam looks at, as in backbone/conv5, and whose receptive field is drawn. "
              "Default: the last with positions.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1, max=10_000), help="Parts of the way of integrated_gradients. "
              "Default: 64, up to 1,024 where they do not suffice.")  # fmt: skip
@click.option("--window", type=click.IntRange(min=1), help="Side of occlusion's window, pixels. Default: an eighth of "
              "the image.")  # fmt: skip
@click.option("--stride", type=click.IntRange(min=1), help="Pixels from one of occlusion's windows to the next. "
              "Default: half of the window.")  # fmt: skip
@click.option("--baseline", type=click.Choice(BASELINES), help="What an absent pixel shows; grey is the mean of the "
              "training images. Default: black for integrated_gradients, grey for occlusion.")  # fmt: skip
@click.option("--receptive-field/--no-receptive-field", default=True, show_default=True, help="Draw what the layers "
              "see, and the scales a and b of Dirac layers beside it.")  # fmt: skip
@click.option("--output", type=click.Path(file_okay=False), help=f"Folder for {PAGE}, {RECORD} and a picture of each "
              "image. Default: explanations in the RUN, or NAME-explanations beside the file.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists and `explain` wrote it.")
@input_option()
@outputs_option
@image_file_options
@reading_options
@json_option("Print JSON instead of the table.")
def explain(model, images, output, overwrite, as_json, **options):
    """Show which parts of images the answer of a network rests on.

    MODEL is a `.keras` file, an old `.h5` one, or the folder of a finished run: functional, Sequential, models in
    models. IMAGES are JPEG, PNG, GIF, BMP or WebP files. One that cannot be decoded is named, the others are done, and
    the status is 1. What is explained is the class's score in front of the softmax or sigmoid.

    `dirac-keras explain runs/cifar10 cat.jpg dog.png --method gradcam --method occlusion --output why`
    """
    _check_options(options)
    source = pathlib.Path(model)
    default = source / "explanations" if source.is_dir() else source.with_name(f"{source.stem}-explanations")
    output = pathlib.Path(output) if output else default
    _check_output(output, overwrite)
    given, skipped = len(images), []
    images = readable_images(images, lambda path, reason: _pass_over(skipped, path, reason))
    subject = _Subject(model, options)
    pixels, paths = _read(images, subject.spec, skipped)
    if not paths:
        raise RunError("none of the images could be read, see above: nothing was written.")
    with atomic_path(output) as folder:
        folder.mkdir()
        record = _write(folder, subject, pixels, paths, skipped, options)
        seal_folder(folder)
    emit(as_json, record)
    if not is_quiet(as_json):
        print_rows(f"{subject.network.name}: what its answers rest on", _table(record))
        say(f"written: {output / PAGE}, {output / RECORD}, {counted(len(paths), 'picture')}")
    if skipped:
        raise RunError(f"{len(skipped)} of {counted(given, 'image')} could not be read, see above.")


class _Subject:
    """A network with what its images and classes are."""

    def __init__(self, path, options):
        from dirac_keras.deployment.feeding import fed_data
        from dirac_keras.deployment.image_spec import ImageSpec

        self.path = str(path)
        self.network, metadata = options["reading"].open(path)
        data = metadata.get("data") or {}
        told = [options[name] for name in ("input", "labels", "image_size", "max_pixels")]
        described, feed = fed_data(self.network, metadata.get("data"), *told)
        logger.info("input: %s", feed.text)
        self.spec = ImageSpec.from_metadata({"data": described}, self.network)
        self.task, self.outputs = data.get("task"), options["outputs"]

    def feed(self, pixels):
        from dirac_keras.deployment.feeding import to_input

        return to_input(self.network, np.asarray(self.spec.normalize(pixels)))

    def explain(self, pixels, method, options):
        """`Explanation` of images `(batch, height, width, channels)` of uint8."""
        from dirac_keras.explanation import explain

        chosen = {name: options[name] for name in METHODS[method] if name != "baseline"}
        if "baseline" in METHODS[method]:
            chosen["baseline"] = self._baseline(options["baseline"] or _BASELINE[method], pixels.shape[-1])
        target, names = options["target"], self.spec.class_names
        common = {"class_names": names, "task": self.task, "outputs": self.outputs}
        return explain(self.network, self.feed(pixels), method, target, **chosen, **common)

    def _baseline(self, name, channels):
        """One value for each channel, as the network is fed."""
        mean = np.asarray(self.spec.mean if any(self.spec.mean) else [GREY] * channels, "float32")
        colour = {"black": np.zeros(channels), "grey": mean, "white": np.full(channels, 255.0)}[name]
        return (colour - np.asarray(self.spec.mean)) / np.asarray(self.spec.std)


_BASELINE = {"integrated_gradients": "black", "occlusion": "grey"}


def _check_options(options):
    """Refuse an option that none of the methods takes."""
    for name in dict.fromkeys(name for names in METHODS.values() for name in names):
        takers = [method for method, names in METHODS.items() if name in names]
        if (
            options[name] is None
            or {*takers} & {*options["methods"]}
            or (name == "layer" and options["receptive_field"])
        ):
            continue
        raise UserError(f"{name} is for {' and '.join(takers)}, which is not among the methods. Leave `{name}` out.")


def _check_output(output, overwrite):
    if output.is_dir() and not output.is_symlink():
        if not any(output.iterdir()):
            return
        if overwrite and (output / RECORD).is_file() and Manifest(output).exists():
            return Manifest(output).check("output")
        if overwrite:
            raise UserError(
                f"output: {output} was not written by explain, so it is not replaced. Give another `output`."
            )
    if os.path.lexists(output):
        raise UserError(f"output: {output} exists; give another `output`, or `overwrite=True` to replace it.")
    check_place(output, "output")


def _read(images, spec, skipped):
    """`(pixels, paths)` of those that can be decoded; the others are said, and added to what is skipped."""
    from dirac_keras.deployment.evaluation import read_image

    pixels, paths = [], []
    for path in map(str, images):
        try:
            pixels.append(np.asarray(read_image(path, spec), "uint8"))
            paths.append(path)
        except UserError as error:
            _pass_over(skipped, path, error)
    return pixels, paths


def _pass_over(skipped, path, reason):
    message = spell_options(str(reason), click.get_current_context().command)
    skipped.append({"image": path, "error": message})
    leave_out(message)


def _write(folder, subject, pixels, paths, skipped, options):
    """Write pictures, page and record into a folder. Returns: the record."""
    from dirac_keras.explanation.page import build_page

    items = []
    for start in range(0, len(paths), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        items += _explained(folder, subject, np.stack(pixels[part]), paths[part], options, start, len(paths))
    fields, pictures = [], []
    if options["receptive_field"]:
        fields, pictures = _fields(folder, subject, np.stack(pixels[:FIELD_IMAGES]), options["layer"])
    record = {"model": subject.path, "images": [{k: v for k, v in item.items() if k != "panels"} for item in items]}
    record |= {"skipped": skipped, "receptive_fields": fields}
    subtitle = counted(len(paths), "image")
    build_page(f"What the answers of {subject.path} rest on", subtitle, items, skipped, fields, pictures).write(
        folder / PAGE
    )
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def _explained(folder, subject, pixels, paths, options, start, total):
    from dirac_keras.explanation.pictures import draw_explanations, png_of, save_picture

    explanations = [subject.explain(pixels, method, options) for method in dict.fromkeys(options["methods"])]
    items = []
    for index, path in enumerate(paths):
        name = f"{start + index + 1:0{len(str(total))}d}-{_plain(path)}.png"
        save_picture(draw_explanations(pixels[index], explanations, index), folder / name)
        records = [one.record(index) for one in explanations]
        panels = [
            png_of(draw_explanations(pixels[index], explanations, index, [one])) for one in range(1 + len(records))
        ]
        items.append({"image": path, "picture": name, "explanations": records, "panels": panels})
    return items


def _fields(folder, subject, pixels, layer):
    """Records and pictures of the receptive fields; none where no layer has positions."""
    from dirac_keras.explanation import receptive_fields_by_depth
    from dirac_keras.explanation.pictures import draw_depth, draw_fields, save_picture

    try:
        fields = receptive_fields_by_depth(subject.network, subject.feed(pixels), layer)
    except UserError as error:
        if layer is not None:
            raise
        logger.warning("receptive fields were left out: %s", error)
        return [], []
    pictures = []
    for name, figure, what in (
        ("receptive-fields.png", draw_fields(pixels[0], fields), "receptive fields over an image"),
        ("receptive-fields-by-depth.png", draw_depth(fields), "receptive fields by layer"),
    ):
        save_picture(figure, folder / name)
        pictures.append(((folder / name).read_bytes(), what))
    return [field.record() for field in fields], pictures


def _plain(path):
    """The stem of a file's name as a part of another's on every system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", pathlib.Path(path).stem)[:60] or "image"


def _table(record):
    rows = []
    for item in record["images"]:
        for one in item["explanations"]:
            share, missed = one["probability"], one.get("incompleteness")
            rows.append(
                {
                    "image": item["image"],
                    "method": one["method"],
                    "class": one["class"],
                    "probability": "" if share is None else f"{share:.1%}",
                    "predicted": predicted_of(one),
                    "layer": one.get("layer", ""),
                    "incompleteness": "" if missed is None else f"{missed:.1%}",
                }
            )
    kept = [name for name in rows[0] if any(row[name] for row in rows)]
    return [{name: row[name] for name in kept} for row in rows]
