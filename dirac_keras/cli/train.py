"""`dirac-keras train`: from a configuration to a trained, folded and exported network."""

import dataclasses
import pathlib
import re

import numpy as np
import rich_click as click

import dirac_keras
from dirac_keras.callbacks.profile import parse_steps
from dirac_keras.callbacks.timing import describe_limit
from dirac_keras.cli.diagnose.command import DIAGNOSED_IMAGES
from dirac_keras.cli.options import (
    CONTEXT,
    config_options,
    device_options,
    group_flags,
    open_devices,
    read_config,
    splits_of_config,
)
from dirac_keras.cli.speech.json_option import emit, json_option
from dirac_keras.cli.speech.output import console, say, write_json
from dirac_keras.errors import MissingExtra, UserError
from dirac_keras.files.amounts import counted
from dirac_keras.files.keras_file import MODEL_FILE, save_model
from dirac_keras.files.outputs import check_folded
from dirac_keras.models.family import find_family
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.limits import check_size
from dirac_keras.training.stepping.execution import ON_DEVICE, Execution
from dirac_keras.training.stepping.interruption import Interruption
from dirac_keras.training.tasks import CLASSES, VALUES
from dirac_keras.training.training_error import parse_limit

FOLDED_FILE = "folded.keras"
OTHER_FIGURES = ("mean_average_precision", "f1_macro", "f1_micro", "exact_match", "mae", "r2")

group_flags(
    "train",
    [
        "--config",
        "--workdir",
        "--download",
        "--overwrite",
        "--export",
        "--diagnose-every",
        "--profile",
        "--evaluate-train",
        "--max-gigabytes",
        "--json",
        "--help",
    ],
)


@click.command(context_settings=CONTEXT)
@click.option("--config", "config_file", type=click.Path(), help="JSON or TOML file with values of these options.")
@click.option(
    "--workdir", type=click.Path(), help="Folder of the run. Default: a folder in runs/, named after the run."
)
@click.option("--download", is_flag=True, help="Download the data set if it is absent.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Delete the run that is in the workdir, then train. Anything else in the workdir is an error.",
)
@click.option(
    "--export/--no-export",
    "with_export",
    default=True,
    help="Fold and export the trained network; the SavedModel only where TensorFlow is installed. Default: yes.",
)
@click.option(
    "--diagnose-every",
    type=click.IntRange(min=1),
    help="Epochs between measurements of every layer, written to tb/. Default: none.",
)
@click.option(
    "--profile",
    metavar="STEPS",
    help="Step to trace for TensorBoard, or first and last step: 10, or 10,20. Default: none.",
)
@click.option(
    "--max-gigabytes",
    type=click.FloatRange(min=0, min_open=True),
    help="Memory that the network and a training step may take by an estimate. Default: that of this machine.",
)
@click.option(
    "--steps-per-execution",
    metavar="auto|N",
    default="auto",
    show_default=True,
    help="Most training steps that are one program. auto: on an accelerator under JAX as many as take about a second, "
    "else 1.",
)
@click.option(
    "--data-on-device",
    type=click.Choice(ON_DEVICE),
    default="auto",
    show_default=True,
    help="Whether the training data lie in the device's memory, where batches are cut and augmented. auto: on an "
    "accelerator under JAX, if they take little of it.",
)
@click.option(
    "--evaluate-train",
    metavar="all|N",
    help="Training images on which the trained network is evaluated too, without augmentation. Default: none.",
)
@device_options
@config_options()
@json_option("Print the final figures, and what became of the export, as JSON.")
def train(
    config_file,
    workdir,
    download,
    overwrite,
    with_export,
    diagnose_every,
    profile,
    max_gigabytes,
    steps_per_execution,
    data_on_device,
    evaluate_train,
    devices,
    data_service,
    as_json,
    **flags,
):
    """Train a network, fold it to a plain chain, export it, compare the outputs.

    The same command resumes a run that was interrupted. SIGTERM and Ctrl-C finish the step and save a checkpoint (exit
    status 143 and 130).

    `dirac-keras train --data cifar10 --depth 28 --width 1 --recipe quick --epochs 15 --workdir runs/c10`
    """
    from dirac_keras.training import train as run_training

    config = read_config(config_file, flags, workdir)
    check_size(config, max_gigabytes=max_gigabytes)
    execution = Execution(steps_per_execution, data_on_device)
    parse_limit(evaluate_train)
    if profile:
        parse_steps(profile)
    workdir = pathlib.Path(workdir or _default_workdir(config))
    if with_export and not overwrite:
        check_folded(workdir / FOLDED_FILE, workdir / MODEL_FILE)
    RunDirectory(workdir).restore_threads()  # before TensorFlow computes anything
    place = open_devices(**devices)
    if diagnose_every and place.num_workers > 1:
        raise UserError('`diagnose_every` measures on one machine. Leave it out with `strategy="multiworker"`.')
    with Interruption():  # training takes the signals over
        splits = splits_of_config(config, download)
        callbacks = []
        if diagnose_every:
            from dirac_keras.diagnostics import Diagnostics

            folder = RunDirectory(workdir).tensorboard / "diagnostics"
            callbacks.append(Diagnostics(splits.train_in_order(DIAGNOSED_IMAGES), diagnose_every, log_dir=folder))
        options = {"overwrite": overwrite, "callbacks": callbacks, "console": console, "profile": profile}
        options |= {"max_gigabytes": max_gigabytes, "evaluate_train": evaluate_train, **dataclasses.asdict(execution)}
        result = run_training(config, splits, workdir, strategy=place, data_service=data_service, **options)
    if not place.is_chief:
        emit(as_json, {"workdir": str(workdir), "worker": place.worker_index})
        say(f"worker {place.worker_index} is done; the run is with worker 0, {place.workers[0]}, in {workdir}")
        return
    if found := splits.found():
        write_json(result.run.path / "data.json", found)
    say(_test_line(result.summary))
    if limit := describe_limit(result.summary):
        say(limit)
    deployment = _fold_and_export(result, splits) if with_export else None
    emit(as_json, {"workdir": str(workdir), **result.summary, "deployment": deployment})
    _show_files(workdir)


def _test_line(summary):
    top5 = f"  top-5 {summary['test_top5']:.4f}" if "test_top5" in summary else ""
    weights = f"  ({summary['weights']})" if "weights" in summary else ""
    views = ""
    if "test_accuracy_of_views" in summary:
        views = f"  over views ({summary['test_time_augmentation']}) {summary['test_accuracy_of_views']:.4f}"
    train = ""
    if "train_accuracy" in summary:
        train = f"  on {counted(summary['train_images'], 'training image')} {summary['train_accuracy']:.4f}"
    if "test_accuracy" not in summary:  # of labels or values
        figures = [(name, summary[f"test_{name}"]) for name in OTHER_FIGURES if summary.get(f"test_{name}") is not None]
        return "test " + "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in figures) + weights
    return f"test accuracy {summary['test_accuracy']:.4f}{views}{top5}{train}{weights}"


def _default_workdir(config):
    network = find_family(config.family).network_label(config)
    parts = (
        re.sub("^(folder|csv|parquet|hf):", "", config.data).strip("/").replace("/", "-"),
        *network,
        f"{config.recipe}{config.epochs}",
        f"seed{config.seed}",
    )
    return pathlib.Path("runs") / "-".join(parts)


def _fold_and_export(result, splits):
    """Write the folded network and its export, and say so. Returns: the record in `deployment.json`."""
    from dirac_keras.graph.casting import to_float32

    run = result.run
    metadata = {"data": splits.spec.to_dict(), "seed": run.read_config().seed}
    # What is deployed is float32, as portable as can be; in bfloat16 a comparison would measure rounding alone.
    with console.status("folding, and comparing with the trained network"):  # on a terminal alone
        trained = to_float32(result.model)
        folded, report = dirac_keras.fold(trained)
        images, labels = _first_images(splits.test(), 2000)
        expected = trained.predict(images, verbose=0)
        outputs = folded.predict(images, verbose=0)
    comparison = {
        "images": len(images),
        "max_abs_difference": float(np.max(np.abs(outputs - expected))),
        **_agreement(outputs, expected, labels, splits.task),
    }
    save_model(folded, run.path / FOLDED_FILE, metadata, overwrite=True)
    say(
        f"folded: {report.parameters_before:,} -> {report.parameters_after:,} parameters, on "
        f"{counted(len(images), 'test image')} max abs difference "
        f"{comparison['max_abs_difference']:.2g}{_same_answers(comparison)}"
    )
    record = {"fold": report.to_dict(), "test_images": comparison, "export": _export(folded, run.path, metadata)}
    write_json(run.path / "deployment.json", record)
    return record


def _agreement(outputs, expected, labels, task):
    """How often two networks answer alike, and how often the first is right; of numbers neither is asked."""
    if task == VALUES:
        return {}
    given, wanted = ((x > 0, x.argmax(-1))[task == CLASSES] for x in (outputs, expected))
    if task == CLASSES:
        return {"argmax_agreement": float(np.mean(given == wanted)), "folded_accuracy": float(np.mean(given == labels))}
    same, right = ((given == of).all(-1) for of in (wanted, labels > 0))
    return {"label_agreement": float(np.mean(same)), "folded_exact_match": float(np.mean(right))}


def _same_answers(comparison):
    for name, what in (("argmax_agreement", "same class"), ("label_agreement", "same labels")):
        if name in comparison:
            return f", {what} for {comparison[name]:.2%}"
    return ""


def _export(folded, folder, metadata):
    """Write a run's SavedModel, and say so. Returns: its report as a dict; None without TensorFlow, which is said."""
    try:
        exported = dirac_keras.export(folded, folder / "saved_model", metadata=metadata, overwrite=True)
    except MissingExtra:
        say(
            "not exported: TensorFlow, which writes the SavedModel, is not installed; the folded network is in "
            f"{folder / FOLDED_FILE}. To export it: pip install tensorflow, then dirac-keras export {folder}"
        )
        return None
    say(
        f"exported: {', '.join(exported.signatures)}; reloaded in a clean process, "
        f"max abs difference {exported.max_abs_difference:.2g}"
    )
    return exported.to_dict()


def _first_images(dataset, count):
    images, labels = [], []
    for x, y in dataset:
        images.append(np.asarray(x))
        labels.append(np.asarray(y))
        if sum(map(len, labels)) >= count:
            break
    return np.concatenate(images)[:count], np.concatenate(labels)[:count]


def _show_files(folder):
    names = [f"{p.name}/" if p.is_dir() else p.name for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    say(f"in {folder}: {', '.join(names)}")
