"""`dirac-keras export`: a saved model as an artefact for one of the runtimes."""

import math
import os
import pathlib

import rich_click as click

import dirac_keras
from dirac_keras.cli.card import card_options
from dirac_keras.cli.options import CONTEXT
from dirac_keras.cli.pictures import Source, check_sources
from dirac_keras.cli.reading import image_file_options, input_option, outputs_option, reading_options
from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import say
from dirac_keras.cli.speech.spelling import spell_options
from dirac_keras.errors import UserError, renaming
from dirac_keras.files.amounts import counted
from dirac_keras.files.places import check_place

# Format -> suffix of its default file.
FORMATS = {"saved_model": "", "onnx": ".onnx", "litert": ".tflite", "openvino": ".xml"}
PRECISIONS = ("float32", "float16", "int8", "int4", "keep")
INTEGER = ("int8", "int4")
FINETUNE_BYTES = 2**30  # of pixels that are held
COMPARED = 64  # images that an artefact in float is compared on
# Option -> what it belongs to.
_BELONGS_TO = {
    "max_calibration": "`calibration`",
    "max_finetune": "`finetune_epochs`",
    "gate_data": "a gate, `max_accuracy_drop` or `min_sqnr`",
    "max_gate": "a gate, `max_accuracy_drop` or `min_sqnr`",
    "license": "a card or `hub`",
    "benchmark": "a card",
}
GROUPS = {
    "Artefact": ["--output", "--format", "--precision", "--batch", "--opset", "--fold", "--overwrite", "--json"],
    "Quantization": [
        "--calibration", "--max-calibration", "--seed", "--max-kept", "--identity-apart", "--finetune-epochs",
        "--max-finetune", "--max-accuracy-drop", "--min-sqnr", "--gate-data", "--max-gate", "--data-dir",
    ],
    "Images": ["--input", "--outputs", "--labels", "--image-size", "--max-pixels"],
    "Card": ["--card", "--hub", "--license", "--benchmark"],
    "Reading": ["--import", "--unsafe", "--max-gigabytes", "--help"],
}  # fmt: skip
click.rich_click.OPTION_GROUPS["dirac-keras export"] = [
    {"name": name, "options": options} for name, options in GROUPS.items()
]


@click.command("export", context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option("--output", type=click.Path(), help="File or folder to write. Default: in the run, or beside the file: "
              "saved_model, or NAME-PRECISION with the format's suffix; of `--hub` the folder hub-FORMAT-PRECISION. Of "
              "openvino a path that does not end in .xml is a folder.")  # fmt: skip
@click.option("--format", "format_name", type=click.Choice(list(FORMATS)), default="saved_model", show_default=True,
              help="Format to export to. All but saved_model need the extra of the same name.")  # fmt: skip
@click.option("--fold/--no-fold", "with_fold", default=True, help="Fold the model before the export. Default: yes.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True,
              help="float16 halves the file; int8 and int4 need `--calibration`. keep is the model's own, of a "
              "saved_model.")  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), help="Images that the artefact takes at once. Default: any "
              "number.")  # fmt: skip
@click.option("--opset", type=int, help="Opset of the format onnx. Default: 18; int4 has 21.")
@click.option("--calibration", multiple=True, metavar="DATA", help="Images to quantize with: a data set's name, whose "
              "training images are taken, folder:PATH (all of its images, unless it has a test folder or the gate "
              "is measured on it), an image file, or a folder of image files. Repeat it for "
              "several. In float the artefact is compared on them. Default: none in int8 and int4; in float test "
              "images of the model's own data set where it is there.")  # fmt: skip
@click.option("--max-calibration", type=click.IntRange(min=1), default=512, show_default=True,
              help="Largest number of images to quantize with.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Seed that draws the images, and of the quantization.")  # fmt: skip
@click.option("--max-kept", type=click.FloatRange(0, 1), help="Share of the parameters that may stay in float, in the "
              "layers whose rounding costs most. Default: 0.")  # fmt: skip
@click.option("--identity-apart", is_flag=True, help="Also try the identity taps in branches of their own: the network "
              "has an addition for each convolution then. Not for int4 of onnx and openvino, where they are in float "
              "anyway.")  # fmt: skip
@click.option("--finetune-epochs", type=click.IntRange(min=0), default=0, show_default=True,
              help="Epochs of training the rounded network on the images of `--calibration`, the float network its "
              "teacher.")  # fmt: skip
@click.option("--max-finetune", type=click.IntRange(min=1), default=50_000, show_default=True,
              help="Largest number of images to train it on; at most 1 GiB of pixels.")  # fmt: skip
@click.option("--max-accuracy-drop", type=click.FloatRange(0, 100), metavar="POINTS", help="Points of accuracy that "
              "may be lost, or nothing is written.")  # fmt: skip
@click.option("--min-sqnr", type=float, metavar="DB", help="Least signal to quantization noise ratio of the outputs in "
              "decibels, or nothing is written.")  # fmt: skip
@click.option("--gate-data", metavar="DATA", help="Images to measure the two on, as for `--calibration`; of a data "
              "set the test images. Default: the data sets of `--calibration`, else the model's own.")  # fmt: skip
@click.option("--max-gate", type=click.IntRange(min=1), default=2000, show_default=True,
              help="Largest number of images to measure the two on.")  # fmt: skip
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets. Default: $TFDS_DATA_DIR, "
              "else ~/tensorflow_datasets.")  # fmt: skip
@input_option(default="what the model's file or its layers say; without it what takes images is left out")
@outputs_option
@image_file_options
@reading_options
@card_options
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists and `export` wrote it.")
@json_option("Print what was written and compared as JSON.")
def export_command(
    model,
    output,
    format_name,
    with_fold,
    precision,
    batch,
    opset,
    calibration,
    max_calibration,
    seed,
    max_kept,
    identity_apart,
    finetune_epochs,
    max_finetune,
    max_accuracy_drop,
    min_sqnr,
    gate_data,
    max_gate,
    data_dir,
    input,
    outputs,
    labels,
    image_size,
    max_pixels,
    reading,
    card,
    overwrite,
    as_json,
):
    """Write a model for serving, as SavedModel, ONNX, LiteRT or OpenVINO, the preprocessing and the labels inside.

    MODEL is a `.keras` file, an old `.h5` one, or the folder of a finished run. What takes images needs its metadata,
    or `--input`. Before the artefact appears, it is loaded by its own runtime in a clean process, and its outputs are
    compared with the model's.

    `dirac-keras export runs/digits --format litert --precision int8 --calibration digits --output digits.tflite`
    """
    from dirac_keras.deployment.exporting import check_precision
    from dirac_keras.deployment.placing import check_name
    from dirac_keras.deployment.quantization import AUTO
    from dirac_keras.graph.casting import to_float32

    check_precision(format_name, precision)
    source = pathlib.Path(model)
    output = pathlib.Path(output) if output else _default_output(source, format_name, precision, card.hub)
    with renaming(path="output"):
        check_name(output, format_name, card.hub)
    if os.path.lexists(output) and not overwrite:
        raise UserError(f"output: {output} exists. Give another `output`, or `overwrite=True` to replace it.")
    check_place(output, "output")
    if precision in INTEGER and not calibration:
        raise UserError(f"precision {precision} needs images to quantize with: give `calibration`.")
    _refuse_idle({"max_calibration": bool(calibration), "max_finetune": finetune_epochs > 0})
    has_gate = max_accuracy_drop is not None or min_sqnr is not None
    _refuse_idle({"gate_data": has_gate, "max_gate": has_gate})
    _refuse_idle({"license": card.with_card or card.hub, "benchmark": card.with_card})
    asked = {"max_kept": max_kept, "identity_apart": identity_apart, "finetune_epochs": finetune_epochs}
    for name, value in asked.items() if precision not in INTEGER else ():
        if value:
            raise UserError(f"`{name}` is for the precisions {' and '.join(INTEGER)}. Received precision {precision}.")
    check_sources(calibration, "calibration")
    check_sources([gate_data] if gate_data else (), "gate_data")
    network, metadata = reading.open(model)
    network = network if precision == "keep" else to_float32(network)
    if with_fold:
        network, _ = dirac_keras.fold(network)
    told = {"input": input, "outputs": outputs, "labels": labels, "image_size": image_size}
    told |= {"max_pixels": max_pixels}
    images = Source(network, metadata, model, input, labels, image_size, max_pixels, seed, data_dir)
    options = {"precision": precision, "batch": batch, "opset": opset, "max_calibration": max_calibration}
    measured_on = []
    if has_gate:
        measured_on = [gate_data] if gate_data else images.data_sets(calibration) or [images.own()]
    if calibration:
        options["calibration"] = images.read(calibration, "calibration", max_calibration, "all", apart=measured_on)
    elif shown := images.read_own(COMPARED):
        options["calibration"] = shown
    options |= {"max_accuracy_drop": max_accuracy_drop, "min_sqnr": min_sqnr}
    if has_gate:
        options["gate_data"] = images.read(measured_on, "gate_data", max_gate, "test")
    if precision in INTEGER:
        options["quantization"] = {"seed": seed, "max_kept": max_kept or 0.0}
        if identity_apart:
            options["quantization"]["cures"] = (*AUTO, "identity_apart")
        if finetune_epochs:
            size = math.prod(options["calibration"].pixels.shape[1:])
            count = min(max_finetune, max(1, FINETUNE_BYTES // size))
            dataset = images.read(calibration, "calibration", count, "all", apart=measured_on)
            told_of = f"{counted(len(dataset), 'image')} of {', '.join(calibration)}"
            say(f"fine-tuning on {told_of}, {counted(finetune_epochs, 'epoch')}")
            options["quantization"]["finetuning"] = {"dataset": dataset, "epochs": finetune_epochs}
    facts = card.facts(source, network, metadata, input, outputs)
    with renaming(path="output"):
        report = dirac_keras.export(
            network, output, format_name, metadata, overwrite, **told, **options, card=facts, hub=card.hub
        )
    emit(as_json, report.to_dict())
    if not is_quiet(as_json):
        say(spell_options(str(report), click.get_current_context().command))


def _refuse_idle(used):
    """Raise UserError for an option that was given and has nothing to work on.

    Args:
        used: dict, name of the option -> whether what it belongs to is asked for.
    """
    context = click.get_current_context()
    for name, is_used in used.items():
        if not is_used and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise UserError(f"`{name}` has no effect without {_BELONGS_TO[name]}. Leave it out, or give that.")


def _default_output(source, format_name, precision, hub):
    marks = [] if precision in ("float32", "keep") else [precision]
    if hub:
        name = "-".join(["hub", format_name, *marks])
        return source / name if source.is_dir() else source.with_name(f"{source.stem}-{name}")
    if format_name == "saved_model":
        return source / format_name if source.is_dir() else source.with_name(f"{source.stem}-{format_name}")
    name = "-".join(["model" if source.is_dir() else source.stem, *marks]) + FORMATS[format_name]
    return source / name if source.is_dir() else source.with_name(name)
