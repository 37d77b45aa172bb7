"""`dirac-keras benchmark`: the artefacts of one network side by side."""

import dataclasses
import datetime
import pathlib

import numpy as np
import rich_click as click
from rich import box
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from dirac_keras.cli.options import CONTEXT, check_data
from dirac_keras.cli.reading import input_option, outputs_option, reading_options
from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import console, leave_out, printable, say, stderr, write_json
from dirac_keras.cli.speech.spelling import spell_options
from dirac_keras.errors import RunError
from dirac_keras.files.outputs import check_benchmark
from dirac_keras.files.places import check_present
from dirac_keras.files.stderr import quiet_stderr
from dirac_keras.training.effects import TABLES
from dirac_keras.training.folder.directory import machine, versions


class _Sizes(click.ParamType):
    name = "sizes"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"expected numbers of images such as 1,32; received {value!r}", param, ctx)
        return tuple(map(int, parts))


@click.command(context_settings=CONTEXT)
@click.argument("artefacts", nargs=-1, required=True, type=click.Path(), metavar="ARTEFACT...")
@click.option("--data", required=True, help="Data set whose test images the artefacts are run on.")
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets. Default: $TFDS_DATA_DIR, "
              "else ~/tensorflow_datasets.")  # fmt: skip
@click.option("--max-images", type=click.IntRange(min=1), help="Largest number of test images. Default: all.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of a run. Default: one for each processor.")
@click.option("--batch", "batches", type=_Sizes(), default=(1, 32), help="Images in a timed run, one size or several "
              "separated by commas. Default: 1,32.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(min=1), default=15, show_default=True, help="How often the artefacts "
              "are timed in turn; ratios are of the same round.")  # fmt: skip
@click.option("--reference", type=click.Path(), help="Keras model that the outputs are compared with. Default: the "
              "first .keras file among the artefacts that computes in float32, else the first.")  # fmt: skip
@click.option("--output", type=click.Path(file_okay=False), help="Folder of benchmark.json and benchmark.png. Default: "
              "NAME.SUFFIX-benchmark beside the first artefact.")  # fmt: skip
@click.option("--download", is_flag=True, help="Download the data set if it is absent.")
@input_option()
@outputs_option
@reading_options
@json_option("Print JSON instead of the table.")
def benchmark(
    artefacts, data, data_dir, max_images, threads, batches, rounds, reference, output, download, input, outputs,
    reading, as_json,
):  # fmt: skip
    """Measure size, latency, memory, accuracy and differences of a network's artefacts side by side.

    ARTEFACT is a `.keras` file, a SavedModel, an `.onnx`, `.tflite` or OpenVINO `.xml` file, or the folder of a run,
    which stands for all of these in it. Each is run in a process of its own on the test images of the data, as pixels:
    its own preprocessing counts. An artefact whose runtime is not installed is named and skipped.

    `dirac-keras benchmark model.keras folded.keras net.onnx net-int8.tflite --data cifar10 --threads 2`
    """
    from dirac_keras.deployment.benchmarking import benchmark as measure
    from dirac_keras.deployment.benchmarking import plot_benchmark

    first = pathlib.Path(artefacts[0])
    folder = pathlib.Path(output) if output else first.with_name(f"{first.name}-benchmark")
    check_benchmark(folder)
    check_present(artefacts, "artefacts")
    check_data(data)
    test = _TestImages(data, {"data_dir": data_dir, "download": download, "max_test": max_images})
    keras_options = {"input": input, "outputs": outputs, "imports": list(reading.imports), "unsafe": reading.unsafe}
    keras_options["max_gigabytes"] = reading.max_gigabytes
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("", total=None)
        report = measure(
            artefacts, test, threads, batches, reference, rounds, keras_options,
            progress=lambda text: bar.update(task, description=printable(text)),
        )  # fmt: skip
    record = {"data": test.name, "machine": machine(), "date": datetime.date.today().isoformat()}
    record |= {"versions": versions(), **report.to_dict()}
    write_json(folder / "benchmark.json", record)
    plot_benchmark(report, folder / "benchmark.png")
    emit(as_json, record)
    if not is_quiet(as_json):
        print_wide(f"{test.name}, {record['machine']}, {record['date']}", report.table())
        for line in report.lines():
            say(spell_options(line, click.get_current_context().command))
    say(f"written: {folder / 'benchmark.json'}, {folder / 'benchmark.png'}")
    command = click.get_current_context().command
    for path, reason in report.failed:
        leave_out(f"{path}: {spell_options(reason, command)}")
    if report.failed:
        raise RunError(f"{len(report.failed)} of the artefacts could not be measured, see above.")


def print_wide(title, rows):
    """A table of many columns: numbers to the right, headings over several lines, a space between columns."""
    table = Table(title=Text(printable(title)), header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, name in enumerate(rows[0]):
        table.add_column(name.replace(" ", "\n"), justify="left" if number < 2 else "right", no_wrap=number > 1)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row.values()))
    console.print(table)


class _TestImages:
    """The test images of a data set, read when the artefacts have said their size."""

    def __init__(self, name, options):
        self.name, self.options = name, options

    def __call__(self, shape, metadata):
        """`(images, labels, class_names)`: uint8 pixels as an evaluation sees them before they are normalized."""
        from dirac_keras.training.tasks import require_classes

        with quiet_stderr():
            from pipelines import load_splits
        is_told = bool({"resize", "resize_rule"} & set(metadata))  # a file without `resize` scales to the size itself
        rule = {"exif_orientation": metadata.get("exif_orientation", False)} if is_told else {}
        rule |= {"max_pixels": metadata["max_pixels"]} if metadata.get("max_pixels") else {}
        if self.name.startswith(TABLES) and metadata.get("columns"):
            rule |= {"columns": metadata["columns"]}
        sizes = {} if shape is None else {"image_size": shape[:2], "channels": shape[2] if shape[2] in (1, 3) else 3}
        splits = load_splits(
            self.name, eval_batch_size=256, seed=metadata.get("seed", 0), **sizes, **rule, **self.options
        )
        require_classes(splits.spec, "a benchmark, which counts right classes,")
        channels = splits.spec.image_shape[-1]
        seen = {"mean": (0.0,) * channels, "std": (1.0,) * channels}
        if is_told:
            seen["resize"] = metadata.get("resize")
        splits = dataclasses.replace(splits, spec=dataclasses.replace(splits.spec, **seen))
        self.name = splits.spec.name
        parts = [(np.asarray(images).astype("uint8"), np.asarray(labels)) for images, labels in splits.test()]
        images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return images, labels, splits.spec.class_names
