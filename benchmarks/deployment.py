"""`python -m benchmarks.deployment`: networks trained, exported to every format and precision, and measured."""

import datetime
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np
from rich.console import Console

from benchmarks.command import Benchmark
from benchmarks.deployment_networks import FOLDED_FILE, MODEL_FILE, NAMES, SIDE, train

# What the figures are held against.
FASTER, DROP_POINTS, SQNR_DB, DROP_INT4_POINTS = 3.0, 0.3, 35.0, 1.0
CALIBRATION, CHECKED = 512, 8  # images
INTEGER = ("int8", "int4")
NEAREST = "-nearest"  # weights rounded to the nearest integer, without a cure
RECOMMENDED = "-recommended"  # with what the documentation recommends beside the cures
PRECISIONS = (
    "float32",
    "float16",
    *(f"{bits}{way}" for way in ("", RECOMMENDED, NEAREST) for bits in ("int8", "int4")),
)
SUFFIXES = {"saved_model": "", "onnx": ".onnx", "litert": ".tflite", "openvino": ".xml"}


@click.command(cls=Benchmark)
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--workdir", type=click.Path(file_okay=False), default="runs/deployment", show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), help="Default: each network's own, 3 or 4.")
@click.option("--max-train", type=click.IntRange(min=1), help="Training images. Default: each network's own.")
@click.option("--max-test", type=click.IntRange(min=1), help="Test images in training. Default: all.")
@click.option("--data-dir", help="Folder of tensorflow-datasets.")
@click.option("--download", is_flag=True, help="Download CIFAR-10 if it is absent.")
@click.option("--only", type=click.Choice(["train", "export", "open", "measure", "table"]), help="Default: all "
              "but table, in this order. table prints what was measured as Markdown.")  # fmt: skip
@click.option("--format", "formats", multiple=True, type=click.Choice(list(SUFFIXES)), help="Default: all.")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS), help="Default: all; "
              "-nearest is without cures of the rounding, -recommended as the documentation recommends.")  # fmt: skip
@click.option("--cure", "cures", multiple=True, help="Cures of the rounding that are tried. Default: all, which takes "
              "minutes for each network.")  # fmt: skip
@click.option("--max-kept", type=click.FloatRange(0, 1), default=0.06, show_default=True, help="Share of the "
              "parameters in float, of what is recommended.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--batch", "batches", multiple=True, type=click.IntRange(min=1), default=(1, 32), show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=15, show_default=True)
@click.option("--max-images", type=click.IntRange(min=1), help="Test images that are measured on. Default: all.")
def main(
    names, workdir, epochs, max_train, max_test, data_dir, download, only, formats, precisions, cures, max_kept,
    **timing,
):  # fmt: skip
    """Train NAMES (default: all), export them, open each artefact in a clean process, print the table of each network.

    What is in the workdir already is not made again. CIFAR-10; the networks of keras.applications take its images
    enlarged to 96 pixels.
    """
    console = Console(width=200)
    workdir = pathlib.Path(workdir)
    for name in names or NAMES:
        if only in (None, "train"):
            console.print(f"train {name}", highlight=False)
            train(name, workdir, epochs, max_train, max_test, data_dir, download)
        folder = workdir / name
        if not (folder / FOLDED_FILE).exists():
            raise SystemExit(f"{folder} holds no trained network: run without --only, or with --only=train")
        if only in (None, "export"):
            export_all(folder, formats, precisions, cures, max_kept, data_dir, console)
        if only in (None, "open"):
            open_all(folder, data_dir, console)
        if only in (None, "measure"):
            measure(folder, data_dir, console, **timing)
        if only == "table":
            print("\n".join(markdown(name, json.loads((folder / "benchmark.json").read_text(encoding="utf-8")))))


def splits_of(folder, data_dir, **options):
    """CIFAR-10 in the size of a network."""
    from pipelines import load_splits

    is_large = folder.name not in ("diracnet-28-1", "plain-28-1", "van-18")
    return load_splits("cifar10", image_size=SIDE if is_large else None, data_dir=data_dir, **options)


def pixels_of(splits, stream, count):
    """`(images, labels)`: the first images as uint8, before they are normalized."""
    images, labels = [], []
    for batch, classes in stream:
        images.append(np.rint(batch.numpy() * np.float32(splits.spec.std) + np.float32(splits.spec.mean)))
        labels.append(classes.numpy())
        if count is not None and sum(map(len, labels)) >= count:
            break
    return np.concatenate(images)[:count].astype("uint8"), np.concatenate(labels)[:count]


def export_all(folder, formats, precisions, cures, max_kept, data_dir, console):
    """Export a folded network to each format and precision; what cannot be had is a line with the reason."""
    from dirac_keras import export
    from dirac_keras.deployment.formats.registry import FORMATS
    from dirac_keras.deployment.quantization import Memory
    from dirac_keras.errors import MissingExtra, RunError, UserError
    from dirac_keras.files.keras_file import load_model

    model, metadata = load_model(folder / FOLDED_FILE, compiled=False)
    splits = splits_of(folder, data_dir, max_train=4 * CALIBRATION, max_test=CHECKED)
    calibration = pixels_of(splits, splits.train_in_order(CALIBRATION), CALIBRATION)
    chosen = {}  # int8 or int4 -> the cures that its first format has chosen: they do not depend on the format
    memory = None  # of one number of bits at a time: what the formats share is rounded once
    for precision in in_order(precisions or PRECISIONS):
        base = base_of(precision)
        memory = memory if memory and memory[0] == base else (base, Memory())
        for name in [name for name in formats or FORMATS if base in FORMATS[name].precisions]:
            path = artefact_path(folder, name, precision)
            if path.exists():
                continue
            options = {"calibration": calibration} if name != "saved_model" else {}
            if base in INTEGER:
                options["quantization"] = {"cures": chosen.get(base, cures or "auto")}
            if precision.endswith(NEAREST):
                options["quantization"] = {"cures": ()}
            elif precision.endswith(RECOMMENDED):
                options["quantization"] = _recommended(base, name, chosen.get(base, cures or "auto"), max_kept)
                if not options["quantization"]:
                    continue
            if base in INTEGER:
                options["quantization"]["memory"] = memory[1]
            started = datetime.datetime.now()
            try:
                report = export(model, path, name, metadata, precision=base, **options)
            except (UserError, RunError, MissingExtra) as error:
                console.print(f"{path.name}: NOT WRITTEN: {error}", highlight=False, markup=False)
                continue
            if report.quantization:
                taken = report.quantization["chosen"]["cures"]
                if not precision.endswith(NEAREST):
                    chosen[base] = tuple(cure for cure in taken if cure not in ("nearest", "identity_apart"))
                kept = report.quantization["kept"]
                said = f", {len(kept)} layers in float ({report.quantization['kept_share']:.2%})" if kept else ""
                console.print(f"{path.name}: rounded with {', '.join(taken)}{said}", highlight=False, markup=False)
            seconds = (datetime.datetime.now() - started).total_seconds()
            console.print(f"{report}\n  {seconds:.0f} s", highlight=False, markup=False, soft_wrap=True)


def _recommended(base, format, cures, max_kept):
    """Arguments of `quantize` beside what a format does by itself; {} where that is what is recommended.

    int8: layers in float. int4 in LiteRT, whose kernels stay integers: the identity apart.
    """
    if base == "int8":
        return {"cures": cures, "max_kept": max_kept}
    if format != "litert":
        return {}
    from dirac_keras.deployment.quantization import AUTO

    return {"cures": (*(AUTO if cures == "auto" else cures), "identity_apart")}


def in_order(precisions):
    """Those of one number of bits one after another, as they stand."""
    return sorted(precisions, key=lambda precision: ("float32", "float16", *INTEGER).index(base_of(precision)))


def base_of(precision):
    """The precision that `export` knows: int8 of int8-nearest."""
    return precision.removesuffix(NEAREST).removesuffix(RECOMMENDED)


def artefact_path(folder, format, precision):
    """Where an artefact is: `net-PRECISION.SUFFIX`."""
    return folder / (f"net-{precision}{SUFFIXES[format]}" if SUFFIXES[format] else "saved_model")


def artefacts_of(folder):
    """The artefacts there are, without the Keras models."""
    paths = [artefact_path(folder, name, precision) for precision in PRECISIONS for name in SUFFIXES]
    return [path for path in dict.fromkeys(paths) if path.exists()]


def open_all(folder, data_dir, console):
    """Run each artefact on test images in a process without this package and, but for a SavedModel, TensorFlow.

    Raises: SystemExit: if one cannot be.
    """
    from dirac_keras.deployment.runtimes import run_in_clean_process
    from dirac_keras.errors import RunError

    splits = splits_of(folder, data_dir, max_train=1, max_test=CHECKED)
    images, _ = pixels_of(splits, splits.test(), CHECKED)
    failed = []
    for path in artefacts_of(folder):
        try:
            answer = run_in_clean_process(path, [{"inputs": images}])
        except RunError as error:
            failed.append(path.name)
            console.print(f"{path.name}: {error}", highlight=False, markup=False)
            continue
        imported = sorted({"dirac_keras", "tensorflow", "keras"} & set(answer["modules"])) or ["none of them"]
        outputs = ", ".join(f"{name} {value.shape}" for name, value in answer["outputs"][0].items())
        labels = len(answer["metadata"].get("labels") or ())
        said = f"{path.name}: {answer['runtime']}; dirac_keras, keras, tensorflow: imported {', '.join(imported)}; "
        console.print(f"{said}{labels} labels; {outputs}", highlight=False, markup=False)
    if failed:
        raise SystemExit(f"not opened: {', '.join(failed)}")


def measure(folder, data_dir, console, threads, batches, rounds, max_images):
    """Print the table of a network, and the figures that are held against a target."""
    from dirac_keras.cli.benchmark import print_wide
    from dirac_keras.cli.speech.output import write_json
    from dirac_keras.deployment.benchmarking import benchmark, plot_benchmark
    from dirac_keras.training.folder.directory import machine, versions

    splits = splits_of(folder, data_dir, max_train=1, max_test=max_images, eval_batch_size=256)
    images, labels = pixels_of(splits, splits.test(), max_images)
    paths = [folder / MODEL_FILE, folder / FOLDED_FILE, *artefacts_of(folder)]
    report = benchmark(paths, (images, labels, splits.spec.class_names), threads, batches, rounds=rounds)
    date = datetime.date.today().isoformat()
    record = {"data": splits.spec.name, "machine": machine(), "date": date, "versions": versions(), **report.to_dict()}
    write_json(folder / "benchmark.json", record)
    plot_benchmark(report, folder / "benchmark.png")
    print_wide(f"{folder.name} on {splits.spec.name}, {machine()}, {date}", report.table())
    for line in [*report.lines(), *targets(json.loads(json.dumps(record)))]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for path, reason in report.failed:
        console.print(f"FAILED: {path}: {reason}", highlight=False, markup=False, soft_wrap=True)


def markdown(name, record):
    """The lines of a Markdown table of a network's record."""
    batches = [str(batch) for batch in record["batches"]]
    yield (
        f"{name}: {record['images']:,} test images, {record['threads']} threads, {record['rounds']} rounds; "
        f"{record['machine']}, {record['date']}"
    )
    yield ""
    times = [f"batch {batch}: ms (95 %), images/s, times faster" for batch in batches]
    headings = ["artefact", "MB", "warm-up ms", *times, "peak MiB", "accuracy", "same class", "max difference", "SQNR"]
    yield f"| {' | '.join(headings)} |"
    yield "|" + "---|" * len(headings)
    for row in record["rows"]:
        cells = [pathlib.Path(row["artefact"]).name + (f", {row['form']}" if row["form"] else "")]
        cells += [f"{row['size_bytes'] / 1e6:.2f}", f"{1e3 * row['warm_up_seconds']:.0f}"]
        for batch in batches:
            one = row["latency"][batch]
            speed = f"{one['images_per_second']:.0f}, {one['times_faster']:.2f}"
            cells.append(f"{one['median_ms']:.3g} ({one['p95_ms']:.3g}), {speed}")
        cells += [f"{row['peak_memory_mib']:.0f}", f"{row['accuracy']:.2%}", f"{row['agreement']:.2%}"]
        cells += [f"{row['max_abs_difference']:.2g}", "" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f} dB"]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield from (f"- {line}" for line in targets(record))


def targets(record):
    """Lines: the best artefact's speed at the smallest batch, and what int8 and int4 lose, beside what is asked for."""
    rows = record["rows"]
    batch = str(min(record["batches"]))
    best = max(rows, key=lambda row: row["latency"][batch]["times_faster"])
    times = best["latency"][batch]["times_faster"]
    yield (
        f"batch {batch}: best {pathlib.Path(best['artefact']).name}, {times:.2f} times faster than the folded Keras "
        f"model (target {FASTER:g}: {_met(times >= FASTER)})"
    )
    (reference,) = (row for row in rows if row["artefact"] == record["reference"])
    for row in rows:
        if row["precision"] not in ("int8", "int4"):
            continue
        drop = round(100 * (reference["accuracy"] - row["accuracy"]), 9)  # without the rounding of the division
        allowed = DROP_POINTS if row["precision"] == "int8" else DROP_INT4_POINTS
        name = pathlib.Path(row["artefact"]).name
        said = f"{name}: accuracy {-drop or 0.0:+.2f} points (target -{allowed:g} at most: {_met(drop <= allowed)})"
        if row["precision"] == "int8":
            sqnr = row["sqnr_db"]
            digits = 2 if abs(sqnr - SQNR_DB) < 0.05 else 1
            said += f", SQNR {sqnr:.{digits}f} dB (target {SQNR_DB:g}: {_met(sqnr >= SQNR_DB)})"
        yield said


def _met(is_met):
    return "met" if is_met else "MISSED"


if __name__ == "__main__":
    main()
