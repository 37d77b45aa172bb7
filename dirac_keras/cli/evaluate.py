"""The command `evaluate`: a trained model on a data set, in a line, or judged in depth in a report."""

import logging
import os
import pathlib

import rich_click as click

from dirac_keras.cli.options import CONTEXT, check_data, check_model, is_of_image_files, splits_of_model
from dirac_keras.cli.reading import input_option, max_pixels_option, outputs_option, reading_options
from dirac_keras.cli.speech.json_option import STANDARD_OUTPUT, emit, is_quiet, json_option
from dirac_keras.cli.speech.output import say
from dirac_keras.deployment.views import VIEWS
from dirac_keras.errors import UserError
from dirac_keras.files.outputs import check_evaluation
from dirac_keras.files.places import check_place
from dirac_keras.files.stderr import quiet_stderr
from dirac_keras.training.config_file import read_config_file
from dirac_keras.training.folder.directory import RunDirectory

logger = logging.getLogger("dirac_keras")
CORRUPTED = 2000  # images; each is corrupted in up to 85 ways
# Of a report's record, what the line on the terminal has, as far as the record has it.
FIGURES = ("data", "split", "images", "loss", "accuracy", "top5", "exact_match", "mean_average_precision", "f1_macro",
           "f1_micro", "mean_absolute_error", "absent_classes", "absent_labels")  # fmt: skip


class _Names(click.ParamType):
    """`all`, or names separated by commas."""

    name = "names"

    def convert(self, value, param, ctx):
        if value == "all" or isinstance(value, tuple):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip())


@click.command(context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option("--data", help="Data set. Default: the one that the model was trained on.")
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets. Default: $TFDS_DATA_DIR, "
              "else ~/tensorflow_datasets.")  # fmt: skip
@click.option("--columns", help="Columns of a table, --data csv:FILE, parquet:FILE or hf:NAME: "
              "image=NAME,label=NAME,split=NAME; several labels or values as label=NAME+NAME. Default: those of the "
              "model's training, else those that are named so.")  # fmt: skip
@click.option("--task", type=click.Choice(["auto", "classes", "labels", "values"]), help="What a table says of an "
              "image: classes (one of them), labels (any of them), values (numbers), auto. Default: that of the "
              "model's training.")  # fmt: skip
@click.option("--split", type=click.Choice(["test", "validation", "train", "all"]), default="test",
              show_default=True, help="Part of the data set to evaluate on. validation: what a run has held out of its "
              "training images, or what the data set has. all: every image of a folder or table of new data, which may "
              "lack classes of the network.")  # fmt: skip
@click.option("--max-images", type=click.IntRange(min=1), help="Largest number of test or training images to evaluate "
              "on. Default: all; for a run and its own data set, the `--max-test` of its training.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True, help="Images in a batch.")
@click.option("--download", is_flag=True, help="Download the data set if it is absent.")
@click.option("--on-broken", type=click.Choice(["fail", "skip"]), help="What to do with an image file that cannot be "
              "decoded. Default: fail; for a run and its own data set, the `--on-broken` of its training.")  # fmt: skip
@max_pixels_option
@input_option()
@outputs_option
@reading_options
@click.option("--test-time-augmentation", type=click.Choice(VIEWS), default="none", show_default=True,
              help="Views of an image whose outputs are averaged: itself and its mirror image; both, and both shifted "
              "by a pixel. A report sets the accuracy before beside that after.")  # fmt: skip
@click.option("--report", type=click.Path(), metavar="FILE.html", help="Judge the model in depth, and write one page: "
              "intervals, classes, confusion, calibration, the worst mistakes as pictures.")  # fmt: skip
@click.option("--compare", type=click.Path(), metavar="MODEL", help="A second model, compared with the first on the "
              "same images: McNemar's test, difference with interval.")  # fmt: skip
@click.option("--corruptions", type=_Names(), metavar="all|NAME,...", help="Accuracy on corrupted images, at five "
              "strengths: the common corruptions of Hendrycks and Dietterich.")  # fmt: skip
@click.option("--corruption-images", type=click.IntRange(min=1), default=CORRUPTED, show_default=True,
              help="Largest number of images that are corrupted, drawn at random.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier report.")
@json_option("Print the figures as JSON; with --report, --compare or --corruptions, all of the report's.")
def evaluate(
    model,
    data,
    data_dir,
    columns,
    task,
    split,
    max_images,
    batch_size,
    download,
    on_broken,
    max_pixels,
    input,
    outputs,
    reading,
    test_time_augmentation,
    report,
    compare,
    corruptions,
    corruption_images,
    overwrite,
    as_json,
):
    """Measure accuracy and loss of a trained model on a data set.

    MODEL is a `.keras` file, an old `.h5` one, the folder of a finished run, or what `export` writes: a `.onnx`,
    `.tflite` or `.xml` file, the folder of a SavedModel. How the images are scaled is printed.

    `dirac-keras evaluate runs/digits --report digits.html --json digits.json`
    """
    _check_files(report, as_json, overwrite)
    check_model(model, "path", or_artefact=True)
    check_model(compare, "compare", or_artefact=True)
    check_data(data)
    network, metadata, outputs = _open(reading, model, outputs)
    of_training = _options_of_run(model, metadata, data)
    if max_images is None and split == "test":
        max_images = of_training.get("max_test")
    on_broken = on_broken or of_training.get("on_broken", "fail")
    options = _part_of(split, max_images, of_training, data, metadata)
    options |= {"eval_batch_size": batch_size, "data_dir": data_dir, "download": download, "on_broken": on_broken}
    options |= {"max_pixels": max_pixels} if max_pixels else {}
    options |= {name: value for name, value in (("columns", columns), ("task", task)) if value is not None}
    splits = splits_of_model(network, metadata, model, data, **options)
    if split not in splits.parts:
        raise UserError(
            f"`split`: {splits.spec.name} has no {split} images of its own, and no run says which it has held out. "
            "Give another `split`, or a run that was trained with some, on its own data."
        )
    _say_drawn(splits, split, metadata)
    is_in_depth = report or compare or corruptions is not None or as_json not in (None, STANDARD_OUTPUT)
    if not is_in_depth and splits.task == "classes":
        from dirac_keras.deployment.evaluation import evaluate as measure

        figures = measure(network, metadata.get("data"), splits, split, input, outputs, test_time_augmentation)
        emit(as_json, figures)
        _say_figures(figures, of_training, as_json)
        return
    from dirac_keras.evaluation.report import make_report
    from dirac_keras.evaluation.subject import Subject

    subject = Subject(str(model), network, metadata.get("data"), splits, split, input, outputs)
    other = compare and _other(compare, reading, subject, metadata, options)
    found = make_report(subject, other, test_time_augmentation, corruptions, corruption_images)
    if not is_in_depth:
        figures = _figures(found.record)
        emit(as_json, figures)
        _say_figures(figures, of_training, as_json)
        return
    _write(found, report, as_json, overwrite, of_training)


def _part_of(split, max_images, of_training, data, metadata):
    """Arguments of `load_splits` for the part that is asked for."""
    if split == "validation":
        return _validation_of(of_training, max_images)
    if split != "all":
        return {f"max_{split}": max_images}
    own = metadata.get("data") or {}
    name = data or own.get("name")
    if name is not None and not is_of_image_files(name):
        raise UserError(
            f"`split`: all is of folders and tables of images; {name} has parts of its own. Received split='all': give "
            "one of them, or `data`."
        )
    names = own.get("class_names")
    return {"max_test": max_images, "whole": True, "classes": names and tuple(names)}


def _say_drawn(splits, split, metadata):
    """Say that the images are a part of what may have been meant, or more: some that the network was trained on."""
    survey = splits.survey
    name, own = splits.spec.name, (metadata.get("data") or {}).get("name")
    if split == "all" and name == own:
        logger.warning("the network was trained on some of the images of %s: --split test leaves those out", name)
    if split == "test" and survey is not None and survey.is_drawn and name != own:
        of = splits.spec.num_train + splits.spec.num_test
        logger.warning(
            "%s has no test part: %s of its %s images are drawn, as for a training. --split all evaluates all.",
            name, f"{splits.spec.num_test:,}", f"{of:,}",
        )  # fmt: skip


def _validation_of(of_training, max_images):
    """Arguments of `load_splits` that hold out what a run's training has held out."""
    if max_images is not None:
        raise UserError(
            "`max_images` is for test and training images; of validation all count. Received "
            f"max_images={max_images} with split=validation: leave it out."
        )
    return {name: of_training[name] for name in ("validation", "max_train", "max_test", "seed") if name in of_training}


def _open(reading, path, outputs):
    """`(model, metadata, outputs)` of a model's file, a run's folder or an artefact, which says what it gives."""
    from dirac_keras.deployment.runtimes.as_model import ArtefactModel, is_artefact

    if not is_artefact(path):
        return *reading.open(path), outputs
    with quiet_stderr():
        model = ArtefactModel(path)
    logger.info("%s is run by %s", path, model.runner.runtime)
    return model, model.metadata(), outputs or model.gives


def _other(path, reading, subject, metadata, options):
    """The second model as a `Subject`, on the images of the first; fed as its file says, else as the first is."""
    from dirac_keras.deployment.classifier import image_shape_of
    from dirac_keras.deployment.feeding import input_type
    from dirac_keras.evaluation.comparison import check_comparable
    from dirac_keras.evaluation.subject import Subject

    network, own, given = _open(reading, path, None)
    data = own.get("data")
    says_scale = {"mean", "std"} <= set(data or ()) or "float" not in input_type(network)
    told = (None if says_scale else subject.input, given or (None if data else subject.outputs))
    other = Subject(str(path), network, data, subject.splits, subject.split, *told)
    check_comparable(subject, other)
    if image_shape_of(network) != image_shape_of(subject.model) or _decoding(own) != _decoding(metadata):
        name = subject.splits.spec.name
        splits = splits_of_model(network, own, path, name, **{"seed": metadata.get("seed", 0), **options})
        other = Subject(str(path), network, data, splits, subject.split, *told)
    return other


def _decoding(metadata):
    data = metadata.get("data") or {}
    return data.get("exif_orientation"), data.get("max_pixels")


def _check_files(report, as_json, overwrite):
    """Raise UserError for files that cannot be written, before anything is measured."""
    if report is not None and pathlib.Path(report).suffix != ".html":
        raise UserError(f"`report` must end in .html. Received {report}.")
    files = {"report": report, "as_json": None if as_json == STANDARD_OUTPUT else as_json}
    for name, path in files.items():
        if path is None:
            continue
        if os.path.lexists(path) and not overwrite:
            raise UserError(f"`{name}`: {path} exists. Give another file, or `overwrite=True` to replace it.")
        check_evaluation(pathlib.Path(path), name)
        check_place(path, f"`{name}`")


def _write(found, report, as_json, overwrite, of_training):
    from dirac_keras.evaluation.page import make_page
    from dirac_keras.evaluation.summary import headline

    if report:
        make_page(found).write(report, overwrite=overwrite)
    record = found.record
    if is_quiet(as_json):
        emit(as_json, record)
        return
    _say_figures(_figures(record), of_training, as_json)
    _, text, points = headline(record)
    for line in (text, *points):
        say(line.replace("\n", " "))
    if report:
        say(f"written: {report}")
    emit(as_json, record)


def _figures(record):
    figures = {name: record[name] for name in FIGURES if record.get(name) is not None}
    if record["test_time_augmentation"] != "none":
        figures["test_time_augmentation"] = record["test_time_augmentation"]
    return figures


def _say_figures(figures, of_training, as_json):
    if is_quiet(as_json):
        return
    shown = {k: v for k, v in figures.items() if not isinstance(v, list)}  # absent classes: the reading has told them
    say("  ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items()))
    if note := _loss_of_training(of_training, figures):
        say(note)
    if figures["split"] == "train" and of_training.get("validation"):
        say("the training images include those that the run has held out for validation")


def _loss_of_training(config, figures):
    """What the loss in a run's table has beside that of the evaluation, in words; empty if nothing or not known.

    Args:
        config: dict, fields of the run's configuration.
        figures: dict of the evaluation, which tell the task.
    """
    if config and "mean_absolute_error" in figures:
        return (
            "loss is the mean squared error; loss, val_loss and test_loss of the run have each value in units of its "
            "deviation in the training images"
        )
    parts = []
    if config.get("loss") == "focal":
        parts.append("the weights of the focal loss")
    if config.get("class_weights") is not None:
        parts.append("the weights of the classes")
    if smoothing := config.get("label_smoothing"):
        parts.append(f"label smoothing of {smoothing:g}")
    if config.get("dissolve_epoch") is not None:
        parts.append("the penalties on kernels")
    if not parts:
        return ""
    included = ", ".join(parts[:-1]) + (" and " if parts[:-1] else "") + parts[-1]
    return f"loss is the cross-entropy; loss, val_loss and test_loss of the run include {included}"


def _options_of_run(model, metadata, data):
    """The configuration that a run's folder was trained with; empty for a file, and for other data than the run's."""
    config = RunDirectory(model).config
    if not config.exists():
        return {}
    if data is not None:
        with quiet_stderr():
            from pipelines.datasets import full_name

        if full_name(data) != (metadata.get("data") or {}).get("name"):
            return {}
    return read_config_file(config)
