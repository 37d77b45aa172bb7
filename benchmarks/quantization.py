"""`python -m benchmarks.quantization NETWORK`: int8 and int4 in the runtimes, ours beside others' with their defaults.

A folded network becomes an integer artefact of each format in several ways: by other tools from the float artefact, by
our writers with kernels rounded to the nearest, and with the cures that `quantize` chooses. Each artefact is run by its
own runtime on test images; the figures are against the Keras model in float32. `--bits 32` puts the float32 exports of
others beside ours: Keras' own, and kimm's where it is installed.
"""

import dataclasses
import datetime
import json
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import quantization_peers
from benchmarks.command import Benchmark
from benchmarks.deployment import pixels_of
from dirac_keras.deployment.formats import litert, onnx, openvino
from dirac_keras.deployment.formats.child import ChildError, run_child
from dirac_keras.deployment.formats.job import Job
from dirac_keras.deployment.formats.registry import FORMATS
from dirac_keras.deployment.formats.to_saved_model import write_saved_model
from dirac_keras.deployment.heads import find_head
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.pictures import fed
from dirac_keras.deployment.quantization import Memory, quantize, signal_to_noise_db
from dirac_keras.deployment.quantization.fake import Ranges
from dirac_keras.deployment.quantization.network import Network
from dirac_keras.deployment.quantization.ordering import relu_before_pool
from dirac_keras.deployment.quantization.running import run
from dirac_keras.deployment.runtimes import open_artefact
from dirac_keras.errors import RunError, UserError
from dirac_keras.files.keras_file import load_model
from dirac_keras.graph.casting import to_float32
from dirac_keras.training.folder.directory import machine, versions

SUFFIXES = {"litert": ".tflite", "onnx": ".onnx", "openvino": ".xml"}
NEAREST, OURS = "ours, to nearest", "ours"


@click.command(cls=Benchmark)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--data", default="cifar10", show_default=True)
@click.option("--data-dir", help="Folder of tensorflow-datasets.")
@click.option("--calibration", default=512, show_default=True, help="Training images to calibrate with.")
@click.option("--max-images", default=10000, show_default=True, help="Test images to measure on, at most.")
@click.option("--bits", multiple=True, type=click.Choice(["8", "4", "32"]), default=("8", "4"), show_default=True)
@click.option("--format", "formats", multiple=True, type=click.Choice(list(SUFFIXES)), help="Default: all.")
@click.option("--max-kept", multiple=True, type=click.FloatRange(0, 1), default=(0.01,), show_default=True,
              help="Shares of the parameters that may stay in float, a row each beside the row of none; 0: no other "
              "row.")  # fmt: skip
@click.option(
    "--cure", "cures", multiple=True, help="Cures that are tried. Default: all that leave the graph as it is."
)
@click.option("--peers/--no-peers", default=True, show_default=True)
@click.option("--tensors", is_flag=True, help="Print what the activations of each tensor cost, simulated, and no more.")
@click.option("--json", "record_path", type=click.Path(), help="Write the figures here too.")
def main(file, data, data_dir, calibration, max_images, bits, formats, max_kept, cures, peers, tensors, record_path):
    """Quantize the folded network FILE, a .keras file, and print what is lost in each runtime."""
    from pipelines import load_splits

    console = Console(width=160)
    model, metadata = load_model(file, compiled=False)
    model = to_float32(model)
    size = tuple(metadata["data"]["image_shape"][:2])
    splits = load_splits(data, data_dir=data_dir, image_size=size, eval_batch_size=256)
    pixels, _ = pixels_of(splits, splits.train_in_order(calibration), calibration)
    images, labels = pixels_of(splits, splits.test(), max_images)
    spec = ImageSpec.from_metadata(metadata, model)
    job = Job(model, model, "onnx", "int8", spec, find_head(model), metadata, pixels=pixels)
    reference = model.predict(fed(images, spec), batch_size=256, verbose=0)
    accuracy = _accuracy(reference, labels)
    said = f"{pathlib.Path(file).parent.name}/{pathlib.Path(file).name}: {model.count_params():,} parameters, {data}"
    console.print(f"{machine()}; {datetime.date.today()}; {said}, {len(images):,} test images", highlight=False)
    console.print(f"float32: accuracy {accuracy:.2%}; calibrated on {len(pixels)} images", highlight=False)
    if tensors:
        console.print(_tensor_table(model, fed(pixels, spec), fed(images, spec)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for each in map(int, bits):
            made = [*(_by_peers(job, folder, each, formats) if peers else ())]
            ours = _float32(job, folder, formats) if each == 32 else None
            for row in [*made, *(ours or _by_us(job, folder, each, formats, max_kept, cures, console))]:
                rows.append(row | _measure(row.pop("path"), images, reference, labels, accuracy))
    console.print(_table(rows))
    if record_path:
        record = {"machine": machine(), "date": datetime.date.today().isoformat(), "versions": versions()}
        record |= {"file": str(file), "data": data, "images": len(images), "accuracy": accuracy, "rows": rows}
        pathlib.Path(record_path).write_text(json.dumps(record, indent=2) + "\n")


def _by_peers(job, folder, bits, formats):
    """Rows of what others make of the float artefact."""
    sources = {"saved_model": folder / "saved_model", "tflite": folder / "float.tflite"}
    sources |= {"onnx": folder / "float.onnx", "openvino": folder / "float.xml", "keras": folder / "float.keras"}
    as_float = dataclasses.replace(job, precision="float32")
    for name, (_, format, of) in quantization_peers.PEERS_OF.items():
        if of != bits or (formats and format not in formats):
            continue
        if "own export" in name:  # from the model, not from a file of ours
            if not sources["keras"].exists():
                job.served(outputs=("logits",), input_type="float32").save(sources["keras"])
        elif format == "litert" and not sources["tflite"].exists():
            served = job.served(outputs=("logits",), input_type="float32")
            write_saved_model(served, sources["saved_model"], format="litert")
            request = {"folder": str(sources["saved_model"]), "path": str(sources["tflite"]), "precision": "float32"}
            litert.run_converter(job, litert.SCRIPT, request)
        elif format == "onnx" and not sources["onnx"].exists():
            onnx.convert(as_float, sources["onnx"])
        elif format == "openvino" and not sources["openvino"].exists():
            openvino.write(as_float, sources["openvino"])
        path = folder / f"{name.replace(' ', '_')}{bits}{SUFFIXES[format]}"
        request = {"peer": name, "pixels": job.pixels, "path": str(path)} | {k: str(v) for k, v in sources.items()}
        start, failed = time.perf_counter(), ""
        try:
            run_child(quantization_peers.__file__, request)
        except ChildError as error:
            failed = str(error)
        seconds = time.perf_counter() - start
        yield {"format": format, "bits": bits, "way": name, "path": path, "seconds": seconds, "failed": failed}


def _float32(job, folder, formats):
    """Rows of our artefacts in float32."""
    for format in formats or SUFFIXES:
        start, path = time.perf_counter(), folder / f"ours32{SUFFIXES[format]}"
        FORMATS[format].write(dataclasses.replace(job, format=format, precision="float32"), path)
        seconds = time.perf_counter() - start
        yield {"format": format, "bits": 32, "way": OURS, "path": path, "seconds": seconds, "failed": ""}


def _by_us(job, folder, bits, formats, max_kept, cures, console):
    """Rows of our artefacts; the kernels are rounded once for all formats of the same activations."""
    rounded, memory = {}, Memory()
    ways = {NEAREST: 0.0, OURS: 0.0} | {f"{OURS}, {share:.1%} in float": share for share in max_kept if share}
    for format in formats or SUFFIXES:
        activations = 8 if bits == 8 or format == "litert" else None
        for way, share in ways.items():
            key = (way, activations)
            start = time.perf_counter()
            if key not in rounded:
                images = fed(job.pixels, job.spec)
                tried = () if way == NEAREST else cures or "auto"
                if share:  # what was chosen without them
                    tried = tuple(cure for cure in rounded[OURS, activations][1].cures if cure != "nearest")
                # What int4 leaves in float costs nothing where kernels are restored as the file is loaded.
                restored = {"identity_in_float": way != NEAREST and activations is None}
                options = {"activation_bits": activations, "float_outputs": activations is None, **restored}
                options["memory"] = memory  # layers in float are looked for from what was rounded already
                rounded[key] = quantize(job.original, images, bits=bits, cures=tried, max_kept=share, **options)
                report = rounded[key][1]
                kept = f"; in float: {', '.join(report.kept)} ({report.kept_share:.2%})" if report.kept else ""
                console.print(f"{way}, int{bits}: {', '.join(report.cures)}{kept}", highlight=False, soft_wrap=True)
            model, report = rounded[key]
            one = dataclasses.replace(job, model=model, format=format, precision=f"int{bits}", quantization=report)
            path, failed = folder / f"{way.replace(' ', '_')}{bits}{SUFFIXES[format]}", ""
            try:
                notes = FORMATS[format].write(one, path)
            except (RunError, UserError) as error:
                notes, failed = [], str(error)
            for note in notes:
                console.print(f"{format}: {note}", highlight=False, soft_wrap=True)
            seconds = time.perf_counter() - start
            yield {"format": format, "bits": bits, "way": way, "path": path, "seconds": seconds, "failed": failed}


def _measure(path, images, reference, labels, accuracy):
    if not path.exists():
        return {}
    runner = open_artefact(path, threads=1)
    (name,) = runner.inputs
    is_pixels = runner.inputs[name][0] == "uint8"
    outputs = []
    for start in range(0, len(images), 100):
        batch = images[start : start + 100]
        given = runner.run({name: batch if is_pixels else batch.astype("float32")})
        outputs.append(given["logits"] if "logits" in given else next(iter(given.values())))
    outputs = np.concatenate(outputs)
    files = [path, *([path.with_suffix(".bin")] if path.suffix == ".xml" else [])]
    return {
        "sqnr_db": signal_to_noise_db(reference, outputs),
        "accuracy": _accuracy(outputs, labels),
        "drop_points": 100 * (accuracy - _accuracy(outputs, labels)),
        "size_bytes": sum(file.stat().st_size for file in files),
    }


def _accuracy(outputs, labels):
    return float(np.mean(outputs.argmax(-1) == labels))


def _tensor_table(model, calibration, images):
    """By tensor: the noise of the logits where it alone is rounded to 8 bits and weights are in float."""
    model, _ = relu_before_pool(model)
    network = Network(model, images.shape[1:])
    ranges = Ranges(network)
    run(network, calibration, ranges.watch)
    reference = run(network, images)

    def noise(chosen):
        def change(tensor, values):
            return ranges.quantize(tensor, values) if tensor in chosen else values

        return float(np.sum((run(network, images, change).astype("float64") - reference) ** 2))

    power = float(np.sum(reference.astype("float64") ** 2))
    inner = [tensor for tensor in ranges.paths if tensor not in network.outputs]
    alone = {tensor: noise({tensor}) for tensor in inner}
    table = Table(title="int8 activations, weights and logits in float", title_justify="left", header_style="bold")
    for heading in ("tensor", "range", "SQNR dB", "share"):
        table.add_column(heading, justify="left" if heading == "tensor" else "right")
    total = sum(alone.values())
    for tensor, value in alone.items():
        low, high = ranges.limits[tensor]
        share = f"{value / total:.1%}" if total else ""
        table.add_row(ranges.paths[tensor] or "image", f"{low:.2f} {high:.2f}", _decibels(power, value), share)
    table.add_row("sum of these", "", _decibels(power, total), "100.0%")
    table.add_row("all at once", "", _decibels(power, noise(set(inner))), "")
    return table


def _decibels(power, noise):
    return f"{10 * np.log10(power / noise):.1f}" if noise else "inf"


def _table(rows):
    table = Table(header_style="bold")
    for heading in ("runtime", "weights", "by", "SQNR dB", "accuracy", "points lost", "kB", "seconds"):
        table.add_column(heading, justify="left" if heading in ("runtime", "weights", "by") else "right")
    for row in rows:
        start = [row["format"], "float32" if row["bits"] == 32 else f"int{row['bits']}", row["way"]]
        if row["failed"]:
            table.add_row(*start, row["failed"][:60], *[""] * 4)
            continue
        table.add_row(
            *start,
            f"{row['sqnr_db']:.1f}",
            f"{row['accuracy']:.2%}",
            f"{row['drop_points']:+.2f}",
            f"{row['size_bytes'] / 1e3:,.0f}",
            f"{row['seconds']:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
