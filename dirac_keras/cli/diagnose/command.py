"""`dirac-keras diagnose`: what every layer does on data, whether the network will train, or survive integers."""

import logging
import pathlib

import rich_click as click
from rich.progress import Progress

from dirac_keras.callbacks.timing import memory
from dirac_keras.cli.diagnose.quantization import diagnose_quantization
from dirac_keras.cli.options import CONTEXT, check_data, splits_of_model
from dirac_keras.cli.reading import input_option, outputs_option, reading_options
from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import print_rows, say, stderr, write_json
from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted
from dirac_keras.files.outputs import check_diagnosis, check_quantization
from dirac_keras.training.folder.directory import RunDirectory

logger = logging.getLogger("dirac_keras")
DIAGNOSED_IMAGES = 512  # in each measurement during training, and for an untrained network


@click.command(context_settings=CONTEXT)
@click.argument("model", type=click.Path())
@click.option("--data", help="Data set. Default: the one that the model was trained on.")
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets. Default: $TFDS_DATA_DIR, "
              "else ~/tensorflow_datasets.")  # fmt: skip
@click.option("--init", "at_start", is_flag=True, help=f"Judge the untrained network on {DIAGNOSED_IMAGES} training "
              "images. The network of a RUN is rebuilt as it was before its first step.")  # fmt: skip
@click.option("--quantization", is_flag=True, help="Judge instead which layers survive int8 and int4 weights with int8 "
              f"activations, why not, and what mends them; on {DIAGNOSED_IMAGES} training images, or --max-images. "
              "Writes quantization.json and quantization.html.")  # fmt: skip
@click.option("--split", type=click.Choice(["train", "test"]), default="train", show_default=True,
              help="Part of the data set to measure on.")  # fmt: skip
@click.option("--max-images", type=click.IntRange(min=2), help="Largest number of images to measure on. Default: all.")
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True,
              help="Images in a batch.")  # fmt: skip
@click.option("--download", is_flag=True, help="Download the data set if it is absent.")
@click.option(
    "--output",
    type=click.Path(file_okay=False),
    help="Folder for diagnostics.json and diagnostics.html. Default: the RUN, or NAME-diagnosis beside the file.",
)
@input_option(default="what the model's file or its layers say, else standardized by the data's own mean and deviation")
@outputs_option
@reading_options
@json_option("Print JSON instead of the table.")
def diagnose(
    model,
    data,
    data_dir,
    at_start,
    quantization,
    split,
    max_images,
    batch_size,
    download,
    output,
    input,
    outputs,
    reading,
    as_json,
):
    """Measure every layer on data, and say whether the network will train.

    MODEL is a `.keras` file, an old `.h5` one, or the folder of a finished run (RUN): any functional or Sequential
    classifier of images. They are scaled as in training, which is printed. The results are activations, rank,
    collinear units, weights, gradients and Dirac scales, as a table, as `diagnostics.json` and as a page with pictures.
    From Python, `measure` takes any data. The verdict comes with its evidence and with what helps. With
    `--quantization` it is about integers instead.

    `dirac-keras diagnose runs/digits --data digits`
    """
    from dirac_keras import diagnostics
    from dirac_keras.deployment.evaluation import check_classes, preprocessed_as
    from dirac_keras.deployment.heads import find_head
    from dirac_keras.diagnostics.gradients import crossentropy
    from dirac_keras.training.start.beginning import at_first_step
    from dirac_keras.training.tasks import require_classes

    if quantization and (at_start or split == "test"):
        raise UserError(
            "`quantization` judges a trained network on training images. Leave out `at_start` and `split`, or it."
        )
    if at_start and split == "test":
        raise UserError('`at_start` judges on training images. Leave out `split="test"` or `at_start`.')
    source = pathlib.Path(model)
    folder = source if source.is_dir() else source.with_name(f"{source.stem}-diagnosis")
    folder = pathlib.Path(output) if output else folder
    (check_quantization if quantization else check_diagnosis)(folder)
    check_data(data)
    network, metadata = reading.open(model, allow_nonfinite=True)
    limits = {"max_train": max_images, "max_test": max_images, "download": download}
    splits = splits_of_model(network, metadata, model, data, eval_batch_size=batch_size, data_dir=data_dir, **limits)
    require_classes(splits.spec, "a diagnosis, which takes the gradients of the cross-entropy,")
    if network.output_shape[-1] != 1:  # one number may be a regression as well
        check_classes(network, None, splits.spec)
    splits, feed = preprocessed_as(metadata.get("data"), splits, network, input, default="standardized")
    logger.info("input: %s", feed.text)
    if quantization:
        stream = splits.train_in_order(max_images or DIAGNOSED_IMAGES)
        record = {"model": str(model), "data": splits.spec.name}
        diagnose_quantization(network, stream, max_images or DIAGNOSED_IMAGES, record, folder, as_json)
        return
    loss = None
    if outputs is not None and find_head(network, outputs).units > 1:
        loss = crossentropy(from_probabilities=outputs == "probabilities")
    if at_start and source.is_dir():
        network = at_first_step(RunDirectory(source), splits, network.dtype_policy.name)
    if at_start:
        stream, total = splits.train_in_order(DIAGNOSED_IMAGES), min(DIAGNOSED_IMAGES, splits.spec.num_train)
    elif split == "train":
        stream, total = splits.train_in_order(), splits.spec.num_train
    else:
        stream, total = splits.test(), splits.spec.num_test
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("images", total=total)
        diagnosis = diagnostics.measure(
            network, stream, loss=loss, at_start=at_start, progress=lambda done: bar.update(task, completed=done)
        )
    verdict = diagnostics.judge(diagnosis)
    split = "train" if at_start else split
    record = {"model": str(model), "data": splits.spec.name, "split": split, "verdict": verdict.to_dict()}
    record |= diagnosis.to_dict()
    write_json(folder / "diagnostics.json", record)
    title = f"Diagnosis of {network.name} on {split} images of {splits.spec.name}"
    diagnostics.write_page(diagnosis, folder / "diagnostics.html", title)
    emit(as_json, record)
    if is_quiet(as_json):
        return
    print_rows(
        f"{network.name} on {counted(diagnosis.samples, 'image')} of {splits.spec.name}",
        diagnostics.layer_rows(diagnosis),
    )
    for line in diagnostics.answer_lines(diagnosis):
        say(line)
    for missing in diagnostics.missing_lines(diagnosis):
        say(missing)
    say("\n".join(["verdict: " + verdict.lines()[0], *verdict.lines()[1:]]))
    say(
        f"measured in {diagnosis.seconds:.1f} s{_peak_memory()}; written: {folder / 'diagnostics.json'}, "
        f"{folder / 'diagnostics.html'}"
    )


def _peak_memory():
    """`, 1.1 GB of memory at most` where the system tells it: of the whole process, TensorFlow included."""
    mebibytes = memory().get("peak_memory_mib")
    return "" if mebibytes is None else f", {mebibytes * 2**20 / 1e9:.1f} GB of memory at most"
