"""The command `dirac-keras`: parses, then calls the library."""

import functools
import json
import logging
import os
import pathlib
import re
import sys
import time
import types
import typing
from dataclasses import fields

import keras
import numpy as np
import rich_click as click
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

import dirac_keras
from dirac_keras.artifact import load_model, save_model
from dirac_keras.config import GROUPS, TrainConfig, read_config_file
from dirac_keras.interruption import Interruption
from dirac_keras.observability import describe_limit
from dirac_keras.run_directory import RunDirectory
from dirac_keras.startup import quiet_stderr

# A file or a pipe has no width; 80 columns would break lines that people search.
WIDTH = None if sys.stdout.isatty() else 160
DIAGNOSED_IMAGES = 512  # during training, and of an untrained network
console = Console(width=WIDTH)
stderr = Console(stderr=True, width=WIDTH)
click.rich_click.TEXT_MARKUP = "markdown"
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def main():
    """Entry point: every expected error is one line on standard error and a non-zero status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for noisy in ("absl", "tensorflow", "h5py", "matplotlib", "jax"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        commands(standalone_mode=False, prog_name="dirac-keras")
    except click.exceptions.Exit as exit_request:
        sys.exit(exit_request.exit_code)
    except (click.Abort, KeyboardInterrupt):
        is_training = sys.argv[1:2] == ["train"]
        _fail("interrupted." + (" The same command goes on from the last checkpoint." if is_training else ""), 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if not (isinstance(error, (ValueError, RuntimeError, OSError, ImportError)) or _is_of_an_image(error)):
            raise
        if os.environ.get("DIRAC_KERAS_TRACEBACK"):
            raise
        if _is_of_an_image(error):
            _fail(
                "an image cannot be decoded, though it begins and ends as one: "
                f"{str(error).strip().splitlines()[0][:300]}. Repair or remove it.",
                1,
            )
        _fail(" ".join(str(error).split()), 1)


def _is_of_an_image(error):
    """Whether TensorFlow's input pipeline failed at an image's bytes."""
    return type(error).__name__ == "InvalidArgumentError" and re.search(r"JPEG|PNG|image (file|data)", str(error))


def _fail(message, code):
    stderr.print(Text.assemble(("Error:", "bold red"), " ", message), soft_wrap=True)
    sys.exit(code)


def _say(text):
    """Print a line as it is: paths and class names are no markup, and a path is not broken."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


@click.group(context_settings=CONTEXT)
@click.version_option(dirac_keras.__version__, prog_name="dirac-keras")
def commands():
    """Very deep networks without skip connections: train, fold to a plain chain, export.

    `dirac-keras train --data digits --depth 16 --epochs 30 --workdir runs/digits`
    """


def _config_options(command):
    """A flag for every field of `TrainConfig`, named after it, in the groups of the help text."""
    groups = [
        {
            "name": "Run",
            "options": [
                "--config",
                "--workdir",
                "--download",
                "--overwrite",
                "--export",
                "--diagnose-every",
                "--profile",
                "--help",
            ],
        },
        {
            "name": "Devices",
            "options": ["--strategy", "--logical-devices", "--workers", "--worker-index", "--tpu", "--data-service"],
        },
    ]
    for option in fields(TrainConfig):
        if option.name in GROUPS:
            groups.append({"name": GROUPS[option.name], "options": []})
        groups[-1]["options"].append(f"--{option.name.replace('_', '-')}")
    click.rich_click.OPTION_GROUPS["dirac-keras train"] = groups
    for option in reversed(fields(TrainConfig)):
        kind = _flag_type(option)
        flag = f"--{option.name.replace('_', '-')}"
        if kind is bool:
            flag = f"{flag}/--no-{option.name.replace('_', '-')}"
        default = "the recipe's" if option.default is None and option.name in _recipe_fields() else option.default
        text = option.metadata["help"]
        if default is not None:
            text += f" Default: {default}."
        command = click.option(flag, option.name, type=kind, default=None, help=text)(command)
    return command


def _device_options(command):
    """Where a run is computed: what does not decide its result, and so is no field of `TrainConfig`."""
    from dirac_keras.distribution import STRATEGIES

    names = ("strategy", "logical_devices", "workers", "worker_index", "tpu")

    @functools.wraps(command)
    def with_devices(**values):
        return command(devices={name: values.pop(name) for name in names}, **values)

    for option in (
        click.option("--data-service", help="Dispatcher that prepares training batches: grpc://HOST:PORT."),
        click.option("--tpu", help="Name or address of the TPU. Default: $TPU_NAME, else this machine's."),
        click.option(
            "--worker-index", type=click.IntRange(min=0), help="Which of the workers this process is, from 0."
        ),
        click.option("--workers", help="All processes of the run, HOST:PORT,HOST:PORT; the first writes its files."),
        click.option("--logical-devices", type=click.IntRange(min=2), help="Split the CPU into so many devices."),
        click.option(
            "--strategy",
            type=click.Choice(STRATEGIES),
            default="auto",
            show_default=True,
            help="Devices: one; mirrored, all of this machine; multiworker, of several; tpu. auto: the workers' if any "
            "are given, else all of this machine.",
        ),
    ):
        with_devices = option(with_devices)
    return with_devices


def _open_devices(strategy, logical_devices, workers, worker_index, tpu):
    from dirac_keras.distribution import open_strategy, split_cpu

    if logical_devices:
        split_cpu(logical_devices)
    addresses = [address.strip() for address in workers.split(",")] if workers else None
    return open_strategy(strategy, addresses, worker_index, tpu)


def _recipe_fields():
    from dirac_keras.config import RECIPES

    return RECIPES["quick"]


def _flag_type(option):
    kind = option.type
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return _Numbers() if kind is tuple else kind


class _Numbers(click.ParamType):
    name = "numbers"

    def convert(self, value, param, ctx):
        try:
            return tuple(float(part) if "." in part else int(part) for part in value.split(",") if part)
        except ValueError:
            self.fail(f"expected numbers separated by commas, received {value!r}", param, ctx)


def _read_config(config_file, flags):
    """Recipe, then file, then flags: the later wins."""
    values = read_config_file(config_file) if config_file else {}
    values.update({name: value for name, value in flags.items() if value is not None})
    return TrainConfig.from_mapping(values)


def _load_splits(config, download):
    with quiet_stderr():  # imports TensorFlow, whatever the backend
        from pipelines import load_splits

    return load_splits(**config.data_arguments(), download=download)


@commands.command(context_settings=CONTEXT)
@click.option("--config", "config_file", type=click.Path(), help="JSON or TOML file of these options.")
@click.option("--workdir", type=click.Path(), help="Folder of the run. Default: in runs/, named after the run.")
@click.option("--download", is_flag=True, help="Fetch the data set if it is absent.")
@click.option("--overwrite", is_flag=True, help="Delete the run that is in the workdir.")
@click.option("--export/--no-export", "with_export", default=True, help="Fold and export at the end. Default: yes.")
@click.option("--diagnose-every", type=click.IntRange(min=1), help="Measure every layer after so many epochs, in tb/.")
@click.option("--profile", metavar="STEPS", help="Trace steps of this process for TensorBoard: 10, or 10,20.")
@_device_options
@_config_options
def train(
    config_file, workdir, download, overwrite, with_export, diagnose_every, profile, devices, data_service, **flags
):
    """Train a network, fold it to a plain chain, export it, compare the outputs.

    The same command goes on with a run that was interrupted. SIGTERM and Ctrl-C finish the step and save the state
    (exit status 143 and 130).

    `dirac-keras train --data cifar10 --depth 28 --width 1 --recipe quick --epochs 15 --workdir runs/c10`
    """
    from dirac_keras.training import train as run_training

    config = _read_config(config_file, flags)
    place = _open_devices(**devices)
    if diagnose_every and place.num_workers > 1:
        raise ValueError("--diagnose-every measures on one machine. Leave it out with --strategy multiworker.")
    workdir = pathlib.Path(workdir or _default_workdir(config))
    with Interruption():  # training takes the signals over
        splits = _load_splits(config, download)
        callbacks = []
        if diagnose_every:
            from dirac_keras.diagnostics import Diagnostics

            folder = RunDirectory(workdir).tensorboard / "diagnostics"
            callbacks.append(Diagnostics(splits.train_in_order(DIAGNOSED_IMAGES), diagnose_every, log_dir=folder))
        options = {"overwrite": overwrite, "callbacks": callbacks, "console": console, "profile": profile}
        result = run_training(config, splits, workdir, strategy=place, data_service=data_service, **options)
    if not place.is_chief:
        _say(f"worker {place.worker_index} is done; the run is with worker 0, {place.workers[0]}, in {workdir}")
        return
    _say(_test_line(result.summary))
    if limit := describe_limit(result.summary):
        _say(limit)
    if with_export:
        _fold_and_export(result, splits)
    _show_files(workdir)


def _test_line(summary):
    top5 = f"  top-5 {summary['test_top5']:.4f}" if "test_top5" in summary else ""
    weights = f"  ({summary['weights']})" if "weights" in summary else ""
    return f"test accuracy {summary['test_accuracy']:.4f}{top5}{weights}"


def _default_workdir(config):
    network = _network_name(config)
    parts = (
        config.data.replace("folder:", "").strip("/").replace("/", "-"),
        *network,
        f"{config.recipe}{config.epochs}",
        f"seed{config.seed}",
    )
    return pathlib.Path("runs") / "-".join(parts)


def _network_name(config):
    """What tells the network of a run apart from others', as a tuple of texts."""
    size, dense_size = f"{config.depth}-{config.width:g}", f"{config.depth}-{config.units}"
    if config.family == "diracnet":
        return (config.parameterization, *(("dense", dense_size) if config.variant == "dense" else (size,)))
    if config.family == "plainnet":
        return (config.family, config.kind, dense_size, config.scenario)
    layout = {"resnet": (config.variant,), "highway": (config.kind,), "van": (config.kind,)}.get(config.family, ())
    if config.family == "van":
        constraint = () if config.skip_constraint else ("unconstrained",)
        return (config.family, *layout, dense_size if layout == ("dense",) else size, *constraint)
    plain = () if config.skips else ("plain",)
    sigma = () if config.sigma is None else (f"sigma{config.sigma:g}",)
    return (config.family, *layout, dense_size if layout == ("dense",) else size, *plain, *sigma)


def _fold_and_export(result, splits):
    from dirac_keras.precision import to_float32

    run = result.run
    metadata = {"data": splits.spec.to_dict(), "seed": run.read_config().seed}
    # What is deployed is float32, as portable as can be; in bfloat16 a comparison would measure rounding alone.
    trained = to_float32(result.model)
    folded, report = dirac_keras.fold(trained)
    images, labels = _first_images(splits.test(), 2000)
    expected = trained.predict(images, verbose=0)
    outputs = folded.predict(images, verbose=0)
    comparison = {
        "images": len(images),
        "max_abs_difference": float(np.max(np.abs(outputs - expected))),
        "argmax_agreement": float(np.mean(outputs.argmax(-1) == expected.argmax(-1))),
        "folded_accuracy": float(np.mean(outputs.argmax(-1) == labels)),
    }
    save_model(folded, run.path / "folded.keras", metadata, overwrite=True)
    _say(
        f"folded: {report.parameters_before:,} -> {report.parameters_after:,} parameters, on {len(images):,} test "
        f"images max abs difference {comparison['max_abs_difference']:.2g}, "
        f"same class for {comparison['argmax_agreement']:.2%}"
    )
    exported = dirac_keras.export(folded, run.path / "saved_model", metadata=metadata, overwrite=True)
    _say(
        f"exported: {', '.join(exported.signatures)}; reloaded in a clean process, "
        f"max abs difference {exported.max_abs_difference:.2g}"
    )
    record = {"fold": report.to_dict(), "test_images": comparison, "export": exported.to_dict()}
    _write_json(run.path / "deployment.json", record)


def _first_images(dataset, count):
    images, labels = [], []
    for x, y in dataset:
        images.append(np.asarray(x))
        labels.append(np.asarray(y))
        if sum(map(len, labels)) >= count:
            break
    return np.concatenate(images)[:count], np.concatenate(labels)[:count]


def _write_json(path, record):
    from dirac_keras.artifact import write_text

    write_text(path, json.dumps(record, indent=2) + "\n")


def _show_files(folder):
    names = [f"{p.name}/" if p.is_dir() else p.name for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    _say(f"in {folder}: {', '.join(names)}")


@commands.command(context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option("--data", help="Data set. Default: the one the model was trained on.")
@click.option("--data-dir", help="Folder of tensorflow-datasets.")
@click.option("--split", type=click.Choice(["test", "train"]), default="test", show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--download", is_flag=True, help="Fetch the data set if it is absent.")
@click.option("--on-broken", type=click.Choice(["fail", "skip"]), default="fail", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(model, data, data_dir, split, batch_size, download, on_broken, as_json):
    """Accuracy and loss of a trained model (a `.keras` file or a run's folder) on a data set.

    `dirac-keras evaluate runs/digits --data digits`
    """
    from dirac_keras.evaluation import evaluate as measure

    network, metadata = load_model(model)
    options = {"eval_batch_size": batch_size, "data_dir": data_dir, "download": download, "on_broken": on_broken}
    splits = _splits_for(network, metadata, model, data, **options)
    figures = measure(network, metadata.get("data"), splits, split)
    if as_json:
        click.echo(json.dumps(figures))
    else:
        _say("  ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items()))


def _splits_for(network, metadata, model, data, **options):
    """The data set asked for, else the one the model was trained on, in the sizes of the model."""
    from dirac_keras.evaluation import image_shape_of

    with quiet_stderr():
        from pipelines import load_splits

    name = data or metadata.get("data", {}).get("name")
    if name is None:
        raise ValueError(f"data: {model} does not say what it was trained on. Give --data NAME.")
    height, width, channels = image_shape_of(network)
    return load_splits(
        name,
        image_size=(height, width) if height and width else None,
        channels=channels,
        seed=metadata.get("seed", 0),  # it draws the test part of data whose authors give none
        **options,
    )


@commands.command(context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option("--data", help="Data set. Default: the one the model was trained on.")
@click.option("--data-dir", help="Folder of tensorflow-datasets.")
@click.option("--init", "at_start", is_flag=True, help="Judge it untrained, from a few batches; a RUN as it began.")
@click.option("--split", type=click.Choice(["train", "test"]), default="train", show_default=True)
@click.option("--max-images", type=click.IntRange(min=2), help="Use at most so many images of the split.")
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True)
@click.option(
    "--output", type=click.Path(), help="Folder for diagnostics.json and .html. Default: RUN, or beside FILE."
)
@click.option("--json", "as_json", is_flag=True, help="Print the JSON instead of the table.")
def diagnose(model, data, data_dir, at_start, split, max_images, batch_size, output, as_json):
    """Measure every layer on data, and say whether the network will train: the evidence, and what helps.

    Activations, rank, collinear units, weights, gradients, Dirac scales: as a table, as `diagnostics.json` and as a
    page with pictures. Any functional or Sequential classifier of images will do; it is given the images as this
    package trains on them, standardized (from Python, `measure` takes any data).

    `dirac-keras diagnose runs/digits --data digits`
    """
    from dirac_keras import diagnostics
    from dirac_keras.evaluation import preprocessed_as
    from dirac_keras.training import untrained_model

    if at_start and split == "test":
        raise ValueError("--init judges on training images. Leave out --split test, or --init.")
    network, metadata = load_model(model)
    source = pathlib.Path(model)
    limits = {"max_train": max_images, "max_test": max_images}
    splits = _splits_for(network, metadata, model, data, eval_batch_size=batch_size, data_dir=data_dir, **limits)
    splits = preprocessed_as(metadata.get("data"), splits)
    classes = network.output_shape[-1]
    if classes > 1 and classes != splits.spec.num_classes:
        raise ValueError(
            f"--data {splits.spec.name} has {splits.spec.num_classes} classes, the model tells {classes} apart. "
            "Give --data with the images it is for."
        )
    if at_start and source.is_dir():
        network = untrained_model(RunDirectory(source).read_config(), splits.spec, network.dtype_policy.name)
    if at_start:
        stream, total = splits.train_in_order(DIAGNOSED_IMAGES), min(DIAGNOSED_IMAGES, splits.spec.num_train)
    elif split == "train":
        stream, total = splits.train_in_order(), splits.spec.num_train
    else:
        stream, total = splits.test(), splits.spec.num_test
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("images", total=total)
        diagnosis = diagnostics.measure(
            network, stream, at_start=at_start, progress=lambda done: bar.update(task, completed=done)
        )
    verdict = diagnostics.judge(diagnosis)
    folder = (
        pathlib.Path(output) if output else source if source.is_dir() else source.with_name(f"{source.stem}-diagnosis")
    )
    split = "train" if at_start else split
    record = {"model": str(model), "data": splits.spec.name, "split": split, "verdict": verdict.to_dict()}
    record |= diagnosis.to_dict()
    _write_json(folder / "diagnostics.json", record)
    diagnostics.write_page(diagnosis, folder / "diagnostics.html", f"{network.name} on {splits.spec.name} ({split})")
    if as_json:
        click.echo(json.dumps(record))
        return
    _print_rows(
        f"{network.name} on {diagnosis.samples:,} images of {splits.spec.name}", diagnostics.layer_rows(diagnosis)
    )
    for missing in diagnostics.missing_lines(diagnosis):
        _say(missing)
    _say("\n".join(["verdict: " + verdict.lines()[0], *verdict.lines()[1:]]))
    _say(
        f"measured in {diagnosis.seconds:.1f} s{_peak_memory()}; written: {folder / 'diagnostics.json'}, "
        f"{folder / 'diagnostics.html'}"
    )


def _peak_memory():
    """`, 1.1 GB of memory at most` where the system tells it: of the whole process, TensorFlow included."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return ""
    unit = 1 if sys.platform == "darwin" else 1024
    return f", {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.1f} GB of memory at most"


def _print_rows(title, rows):
    """A table of dicts; numbers to the right."""
    table = Table(title=Text(title), header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row.values()))
    console.print(table)


@commands.command(context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes to show.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line an image.")
def predict(model, images, top, as_json):
    """The most likely classes of image files. MODEL is a `.keras` file or a run's folder.

    `dirac-keras predict runs/cifar10 cat.jpg dog.png`
    """
    from dirac_keras.evaluation import rank_files

    network, metadata = load_model(model)
    for path, ranking in rank_files(network, metadata.get("data"), images, top):
        if as_json:
            click.echo(json.dumps({"image": path, "classes": [{"class": c, "probability": p} for c, p in ranking]}))
        else:
            _say(f"{path}: " + "  ".join(f"{c} {p:.1%}" for c, p in ranking))


@commands.command(context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option(
    "--output",
    type=click.Path(),
    help="Where to write. Default: RUN/folded.keras, or beside the file: NAME-folded.keras.",
)
@click.option("--precision", type=click.Choice(["keep", "float32"]), default="keep", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
def fold(model, output, precision, overwrite):
    """Fold BatchNormalization and Dirac parameterization of any Keras model into its kernels.

    `dirac-keras fold runs/digits/model.keras --output digits-plain.keras`
    """
    from dirac_keras.precision import to_float32

    source = pathlib.Path(model)
    if output is None:
        output = source / "folded.keras" if source.is_dir() else source.with_name(f"{source.stem}-folded.keras")
    output = pathlib.Path(output)
    if output.suffix != ".keras":
        raise ValueError(f"--output must end in .keras. Received {output}.")
    _refuse_existing(output, overwrite)
    network, metadata = load_model(model)
    folded, report = dirac_keras.fold(to_float32(network) if precision == "float32" else network)
    save_model(folded, output, metadata, overwrite=overwrite)
    _say(str(report))
    _say(f"written: {output}")


def _refuse_existing(output, overwrite):
    if os.path.lexists(output) and not overwrite:
        raise ValueError(f"--output {output} exists. Give another one, or --overwrite to replace it.")


@commands.command("export", context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option(
    "--output",
    type=click.Path(),
    help="Where to write. Default: RUN/saved_model, or beside the file: NAME-saved_model.",
)
@click.option("--format", "format_name", default="saved_model", show_default=True, help="Format of the artefact.")
@click.option("--fold/--no-fold", "with_fold", default=True, help="Fold first. Default: yes.")
@click.option("--precision", type=click.Choice(["keep", "float32"]), default="float32", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
def export_command(model, output, format_name, with_fold, precision, overwrite):
    """Write a model for serving: float images, uint8 images and encoded files, labels inside.

    The artefact is loaded again in a clean process and compared before it appears.

    `dirac-keras export runs/digits --output digits-saved-model`
    """
    from dirac_keras.precision import to_float32

    source = pathlib.Path(model)
    if output is None:
        output = source / format_name if source.is_dir() else source.with_name(f"{source.stem}-{format_name}")
    _refuse_existing(output, overwrite)
    network, metadata = load_model(model)
    network = to_float32(network) if precision == "float32" else network
    if with_fold:
        network, _ = dirac_keras.fold(network)
    report = dirac_keras.export(network, output, format=format_name, metadata=metadata, overwrite=overwrite)
    _say(str(report))


@commands.command("data-service", context_settings=CONTEXT)
@click.option("--port", type=click.IntRange(0, 65535), default=5050, show_default=True, help="Of the dispatcher.")
@click.option("--workers", type=click.IntRange(min=0), default=1, show_default=True, help="Workers in this process.")
@click.option("--dispatcher", help="grpc://HOST:PORT of one that runs elsewhere. Default: start one here.")
@click.option("--host", default="localhost", show_default=True, help="Name by which others reach this machine.")
def data_service(port, workers, dispatcher, host):
    """Prepare training batches for `train --data-service`, here or on other machines, until interrupted.

    Not encrypted and not guarded: for networks that you trust.

    `dirac-keras data-service --port 5050 --workers 2`
    """
    with quiet_stderr():
        from pipelines.service import start_service

    address, servers = start_service(port, workers, dispatcher, host)
    _say(f"data service at {address}, {workers} workers in this process; interrupt to end")
    sys.stdout.flush()
    while servers:
        time.sleep(3600)


@commands.command(context_settings=CONTEXT)
@click.argument("paper", type=click.Choice(["diracnets", "plainnets", "van"]))
@click.option("--only", multiple=True, help="A table or figure, such as table2; may be repeated. Default: all.")
@click.option("--workdir", type=click.Path(), help="Folder of the runs. Default: runs/PAPER.")
@click.option("--list", "only_list", is_flag=True, help="Say what there is, with the number of runs, and stop.")
@click.option("--quick", is_flag=True, help="Step every run once on a cut-down network: a test of the machinery.")
@click.option("--full", is_flag=True, help="The paper's own recipe and epochs: days on a CPU.")
@click.option("--epochs", type=click.IntRange(min=1), help="Of every run. Default: each run's own.")
@click.option("--seed", type=click.IntRange(min=0), help="Added to the seed of every run. Default: 0.")
@click.option("--data-dir", help="Folder of tensorflow-datasets.")
def reproduce(paper, only, workdir, only_list, quick, full, epochs, seed, data_dir):
    """Train what a paper's tables and figures need, and write them, the paper's numbers beside ours.

    Runs that are finished are not repeated; interrupted ones go on.

    `dirac-keras reproduce plainnets --only table2 --workdir runs/plainnets`
    """
    with quiet_stderr():
        from dirac_keras.experiments import PAPERS, reproduce_experiment

    entries = PAPERS[paper]
    unknown = sorted(set(only) - set(entries))
    if unknown:
        raise ValueError(f"--only must be one of {', '.join(entries)}. Received {unknown[0]}.")
    if only_list:
        for entry in entries.values():
            _say(f"{entry.name}: {entry.title} ({entry.source}; {len(entry.runs)} runs)")
        return
    if quick and full:
        raise ValueError("--quick and --full exclude each other. Give one.")
    suffix = "-quick" if quick else "-full" if full else ""
    folder = pathlib.Path(workdir or pathlib.Path("runs") / f"{paper}{suffix}")
    for name in only or entries:
        overrides = {"epochs": epochs, "seed": seed, "data_dir": data_dir}
        for line in reproduce_experiment(entries[name], folder, quick, console, full, **overrides):
            _say(line)


def _layer_rows(network):
    from dirac_keras.costs import count_macs, receptive_fields

    macs, fields_seen = count_macs(network), receptive_fields(network)
    rows = []
    for layer in network.layers:
        seen = fields_seen.get(layer.name)
        inner = sum(count for name, count in macs.items() if name.startswith(f"{layer.name}/"))
        rows.append(
            {
                "name": layer.name,
                "type": type(layer).__name__,
                "output": " x ".join("?" if side is None else str(side) for side in layer.output.shape[1:])
                if isinstance(layer.output, keras.KerasTensor)
                else "several",
                "parameters": layer.count_params(),
                "macs": macs.get(layer.name, 0) + inner,
                "receptive_field": seen if isinstance(seen, str) else " x ".join(map(str, seen)) if seen else "",
            }
        )
    return rows


@commands.command(context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(model, as_json):
    """Layers of a model with output shapes, parameters, multiply-accumulates and receptive fields.

    `dirac-keras info runs/digits/folded.keras`
    """
    network, metadata = load_model(model)
    rows = _layer_rows(network)
    if as_json:
        click.echo(json.dumps({"name": network.name, "data": metadata.get("data"), "layers": rows}))
        return
    table = Table(title=Text(network.name), header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))
    for name, justify in (("layer", "left"), ("type", "left"), ("output", "left"), ("parameters", "right"),
                          ("MACs", "right"), ("receptive field", "right")):  # fmt: skip
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name != "layer")
    for row in rows:
        table.add_row(
            Text(row["name"]),
            Text(row["type"]),
            row["output"],
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
            row["receptive_field"],
        )
    trainable = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
    table.add_section()
    table.add_row("total", "", "", f"{network.count_params():,}", f"{sum(row['macs'] for row in rows):,}", "")
    console.print(table)
    _say(f"trainable parameters: {trainable:,}")


if __name__ == "__main__":
    main()
