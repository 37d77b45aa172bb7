"""Commands on a saved model: predict, fold, info."""

import os
import pathlib

import numpy as np
import rich_click as click
from rich import box
from rich.table import Table
from rich.text import Text

import dirac_keras
from dirac_keras.cli.image_files import readable_images
from dirac_keras.cli.options import CONTEXT
from dirac_keras.cli.reading import (
    Shape,
    image_file_options,
    input_option,
    outputs_option,
    reading_options,
)
from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import console, leave_out, printable, say
from dirac_keras.cli.speech.spelling import spell_options
from dirac_keras.errors import RunError, UserError, renaming
from dirac_keras.files.amounts import counted
from dirac_keras.files.keras_file import MODEL_FILE, save_model
from dirac_keras.files.outputs import check_folded
from dirac_keras.files.places import check_place


@click.command(context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Number of classes to show.")
@input_option()
@outputs_option
@image_file_options
@reading_options
@json_option("Print one line of JSON for each image.")
def predict(model, images, top, input, outputs, labels, image_size, max_pixels, reading, as_json):
    """Name the most likely classes of image files. Of a network for labels or values it gives those.

    MODEL is a `.keras` file, an old `.h5` one, or the folder of a finished run. IMAGES are JPEG, PNG, GIF, BMP or WebP
    files. One that cannot be decoded is named, the others are done, and the status is 1.

    `dirac-keras predict runs/cifar10 cat.jpg dog.png`
    """
    from dirac_keras.deployment.evaluation import rank_files
    from dirac_keras.deployment.heads import task_of

    broken, records = [], []

    def pass_over(path, error):
        broken.append(path)
        record({"image": path, "error": str(error)})
        leave_out(spell_options(str(error), click.get_current_context().command))

    def record(of_image):
        if is_quiet(as_json):
            emit(as_json, of_image)  # as it comes
        records.append(of_image)

    images_given = len(images)
    images = readable_images(images, pass_over)
    network, metadata = reading.open(model)
    task = task_of(metadata.get("data"))
    told = (input, outputs, labels, image_size, max_pixels)
    ranked = rank_files(network, metadata.get("data"), images, top, *told, on_broken=pass_over)
    for path, ranking in ranked:
        record({"image": path, **_told(ranking, task)})
        if not is_quiet(as_json):
            say(f"{path}: {_said(ranking, task)}")
    if not is_quiet(as_json):
        emit(as_json, records)
    if broken:
        raise RunError(f"{len(broken)} of {counted(images_given, 'image')} could not be read, see above.")


def _told(ranking, task):
    """What is told of an image, for JSON."""
    if task == "values":
        return {"values": dict(ranking)}
    if task == "labels":
        return {"labels": [{"label": name, "probability": p, "given": p > 0.5} for name, p in ranking]}
    return {"classes": [{"class": name, "probability": p} for name, p in ranking]}


def _said(ranking, task):
    """The same in words; of labels, those that the image is given stand first."""
    if task == "values":
        return "  ".join(f"{name} {value:.6g}" for name, value in ranking)
    said = [f"{name} {p:.1%}" for name, p in ranking]
    if task == "classes":
        return "  ".join(said)
    count = sum(p > 0.5 for _, p in ranking)
    given, others = "  ".join(said[:count]) or "none above 50%", "  ".join(said[count:])
    return f"{given}  (not given: {others})" if others else given


@click.command(context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option(
    "--output",
    type=click.Path(),
    help="File to write, ending in .keras. Default: folded.keras in the run, or NAME-folded.keras beside the file.",
)
@click.option("--precision", type=click.Choice(["keep", "float32"]), default="keep", show_default=True,
              help="Precision of the folded model: the model's own, or float32.")  # fmt: skip
@reading_options
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists and `fold` wrote it.")
@json_option("Print what was folded as JSON.")
def fold(model, output, precision, reading, overwrite, as_json):
    """Fold BatchNormalization and the Dirac parameterization of a Keras model into its kernels.

    MODEL is a `.keras` file, an old `.h5` one, or the folder of a finished run. The folded model gives the same
    outputs.

    `dirac-keras fold runs/digits/model.keras --output digits-plain.keras`
    """
    from dirac_keras.graph.casting import has_low_precision, to_float32

    source = pathlib.Path(model)
    if output is None:
        output = source / "folded.keras" if source.is_dir() else source.with_name(f"{source.stem}-folded.keras")
    output = pathlib.Path(output)
    if output.suffix != ".keras":
        raise UserError(f"`output` must end in .keras. Received {output}.")
    _refuse_existing(output, overwrite)
    check_folded(output, source / MODEL_FILE if source.is_dir() else source)
    network, metadata = reading.open(model, allow_nonfinite=True)
    folded, report = dirac_keras.fold(to_float32(network) if precision == "float32" else network)
    with renaming(path="output"):
        save_model(folded, output, metadata, overwrite=overwrite)
    emit(as_json, {**report.to_dict(), "output": str(output)})
    if is_quiet(as_json):
        return
    say(str(report))
    if has_low_precision(folded):
        say("it computes in the precision of its training; --precision float32 folds to one that computes in float32")
    say(f"written: {output}")


def _refuse_existing(output, overwrite):
    check_place(output, "output")
    if os.path.lexists(output) and not overwrite:
        raise UserError(f"output: {output} exists. Give another `output`, or `overwrite=True` to replace it.")


def _layer_rows(network, costs):
    from dirac_keras.graph.layer_outputs import layer_outputs
    from dirac_keras.graph.receptive_fields import receptive_fields

    fields_seen, calls = receptive_fields(network), layer_outputs(network)
    rows = []
    for layer in network.layers:
        seen = fields_seen.get(layer.name)

        def is_inside(path, name=layer.name):
            return path == name or path.startswith(f"{name}/")

        macs = sum(count for path, count in costs.macs.items() if is_inside(path))
        is_whole = not any(map(is_inside, costs.uncounted))
        rows.append(
            {
                "name": layer.name,
                "type": type(layer).__name__,
                "output": _output_in_words(calls.get(layer.name, [])),
                "parameters": layer.count_params(),
                "macs": macs if is_whole or macs else None,
                "all_macs": is_whole,
                "receptive_field": seen if isinstance(seen, str) else " x ".join(map(str, seen)) if seen else "",
            }
        )
    return rows


def _output_in_words(calls):
    """The shape that a layer gives in this network, without the batch."""
    shapes = {tuple(tuple(tensor.shape[1:]) for tensor in outputs) for outputs in calls}
    if len(shapes) != 1 or len(only := shapes.pop()) != 1:
        return "several"
    return " x ".join("?" if side is None else str(side) for side in only[0])


@click.command(context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option("--input-shape", "input_shapes", type=Shape(), multiple=True, help="Sizes of one sample, as 224,224,3, "
              "for a model that leaves some open. Repeat it for each input.")  # fmt: skip
@reading_options
@json_option("Print JSON instead of the table.")
def info(model, input_shapes, reading, as_json):
    """List the layers of a model with shapes, parameters, multiply-accumulates and receptive fields.

    MODEL is a `.keras` file, an old `.h5` one, or the folder of a finished run. `?` stands for what is not known, such
    as the multiply-accumulates of open sizes or of a layer of unknown code.

    `dirac-keras info runs/digits/folded.keras`
    """
    from dirac_keras.graph.costs import count_costs

    network, metadata = reading.open(model, allow_nonfinite=True)
    costs = count_costs(network, _with_batch(network, input_shapes))
    rows = _layer_rows(network, costs)
    record = {"name": network.name, "data": metadata.get("data"), "macs": costs.total, "uncounted": costs.uncounted}
    emit(as_json, {**record, "layers": rows})
    if is_quiet(as_json):
        return
    table = Table(title=Text(printable(network.name)), header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))
    for name, justify in (("layer", "left"), ("type", "left"), ("output", "left"), ("parameters", "right"),
                          ("MACs", "right"), ("receptive field", "right")):  # fmt: skip
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name != "layer")
    for row in rows:
        table.add_row(
            Text(printable(row["name"])),
            Text(printable(row["type"])),
            row["output"],
            f"{row['parameters']:,}",
            "?" if row["macs"] is None else f"{'' if row['all_macs'] else '>= '}{row['macs']:,}",
            row["receptive_field"],
        )
    trainable = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
    table.add_section()
    total = f"{'>= ' if costs.uncounted else ''}{costs.total:,}"
    table.add_row("total", "", "", f"{network.count_params():,}", total, "")
    console.print(table)
    say(f"trainable parameters: {trainable:,}")
    if costs.uncounted:
        is_open = any(None in tensor.shape[1:] for tensor in network.inputs) and not input_shapes
        hint = "; --input-shape gives the open sizes" if is_open else ""
        say(f"MACs: {costs}{hint}")


def _with_batch(network, shapes):
    """Shapes with a batch of one, checked against the model; None for none."""
    from dirac_keras.graph.sizes import why_not

    if not shapes:
        return None
    own = [tensor.shape[1:] for tensor in network.inputs]
    fits = len(own) == len(shapes) and all(
        len(a) == len(b) and all(x in (None, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(own, shapes, strict=True)
    )
    if not fits:
        raise UserError(f"`input_shapes` must fit the model's inputs, {own}. Received {list(shapes)}.")
    shapes = [(1, *shape) for shape in shapes]
    if reason := why_not(network, shapes):
        raise UserError(f"`input_shapes` must be sizes that every layer takes: {reason}.")
    return shapes
