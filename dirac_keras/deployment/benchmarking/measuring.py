"""`benchmark`: all artefacts open at once, each in a process of its own, timed in turn."""

import contextlib
import os
import pathlib
import re
import statistics
import tempfile

import numpy as np

from dirac_keras.deployment.benchmarking import files
from dirac_keras.deployment.benchmarking.comparing import classes_of, compare, named_outputs, units_of
from dirac_keras.deployment.benchmarking.process import Process, Unusable
from dirac_keras.deployment.benchmarking.report import BenchmarkReport
from dirac_keras.deployment.benchmarking.worker import KERAS_SUFFIXES
from dirac_keras.errors import RunError, UserError

WARM_UP_RUNS = 3  # of each batch, before the first value
ROUND_SECONDS, MOST_CALLS = 0.1, 50  # of an artefact in a round: so many runs as take the time, at least one
PREDICTED = 64  # images in a batch where accuracy is measured


def benchmark(
    paths,
    data,
    threads=None,
    batches=(1, 32),
    reference=None,
    rounds=15,
    keras=None,
    progress=lambda text: None,
):
    """Measure the artefacts of one network side by side.

    Each is opened in a process of its own, which for all but `.keras` files can import neither this package nor (but
    for a SavedModel) TensorFlow. All stay open, and in each round each is run in its turn, so that what else the
    machine does hits all of them alike; ratios are of the same round.

    Args:
        paths: of `.keras` files, SavedModels, `.onnx`, `.tflite`, OpenVINO `.xml`, or the folder of a run.
        data: `(images, labels, class_names)`: uint8 `(count, height, width, channels)`, int `(count,)`, and the names
            of the classes, which the artefacts' labels must be where they have any, or None. Or a function
            `data(shape, metadata)` that returns these for the sizes that the artefacts take and for what the first one
            says of itself.
        threads: int, threads of one run; None: the processors of this process.
        batches: sizes to time.
        reference: `.keras` file that outputs are compared with; None: the first one of `paths` that computes in
            float32, else the first one.
        rounds: int.
        keras: dict of `KerasRunner`'s options for the `.keras` files.
        progress: called with a text of what is done.

    Returns: `BenchmarkReport`.
    Raises: ValueError: if an argument does not fit. RunError: if no artefact can be measured.
    """
    threads = threads or _processors()
    batches = tuple(dict.fromkeys(batches))
    for name, values in (("batches", batches), ("rounds", (rounds,)), ("threads", (threads,))):
        if not values or any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in values):
            raise UserError(f"{name} must be whole numbers above 0. Received {name}={values!r}.")
    failed, skipped, names = [], [], []
    for path in ([reference] if reference is not None else []) + list(paths):
        try:
            found = files.expand(path)
            for one in found:
                files.check(one)
            names += found
        except UserError as error:
            if path is reference:
                raise UserError(f"reference: {error}") from None
            failed.append((str(path), _reason(path, error)))
    names = list(dict.fromkeys(names))
    if reference is not None and pathlib.Path(reference).suffix not in KERAS_SUFFIXES:
        raise UserError(f"reference must be a .keras file. Received reference={str(reference)!r}.")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        opened = []
        # The Keras models first: they say how the images are scaled for an artefact that takes real numbers.
        for path in sorted(names, key=lambda name: name.suffix not in KERAS_SUFFIXES):
            progress(f"open {path}")
            process = stack.enter_context(Process(path, threads, keras))
            try:
                told = process.open()
                _check_inputs(told)
                opened.append(_Measured(path, process, told))
            except Unusable as error:
                (skipped if error.is_absent else failed).append((str(path), _reason(path, error)))
        images, labels, class_names = _read(data, opened, batches) if opened else (None, (), None)
        np.save(f"{folder}/images.npy", images)
        keras_models = [measured.told["metadata"] for measured in opened if measured.told["format"] == "keras"]
        scale = {name: keras_models[0][name] for name in ("mean", "std")} if keras_models else None
        opened = _without_failed(opened, failed, _load, f"{folder}/images.npy", images, class_names, scale)
        opened.sort(key=lambda measured: names.index(measured.path))
        opened = _without_failed(opened, failed, _warm_up, batches)
        for batch in batches:
            _time_in_turn(opened, batch, rounds, failed, progress)
        opened = _without_failed(opened, failed, _read_memory)
        opened = _without_failed(opened, failed, _predict, folder, len(class_names or ()), progress)
    if not opened:
        raise RunError("no artefact could be measured. " + " ".join(f"{path}: {why}" for path, why in skipped + failed))
    return _report(opened, labels, batches, rounds, threads, reference, skipped, failed)


class _Measured:
    """One artefact with what was measured so far."""

    def __init__(self, path, process, told):
        self.path, self.process, self.told = path, process, told
        ((self.dtype, self.shape),) = told["inputs"].values()
        self.is_real = "float" in self.dtype
        self.seconds = {}  # batch -> a list of seconds for each round


def _reason(path, error):
    """What is wrong with an artefact, without its path, which stands before it wherever it is said."""
    names = "|".join(re.escape(str(name)) for name in {str(path), str(pathlib.Path(path).resolve())})
    return re.sub(rf"^(path: )?({names}):? ", "", str(error))


def _processors():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _check_inputs(told):
    """Raise Unusable if the artefact does not take images and nothing else."""
    if len(told["inputs"]) != 1:
        raise Unusable(f"it takes {len(told['inputs'])} inputs ({', '.join(told['inputs'])}); images are one")
    ((name, (dtype, shape)),) = told["inputs"].items()
    if shape is None or len(shape) != 4 or dtype not in ("uint8", "float32", "float16", "float64"):
        raise Unusable(
            f"it takes {name} as {dtype} {_text(shape)}; images are uint8 or real numbers in four dimensions"
        )


def _read(data, opened, batches):
    """The images, labels and names of the classes. Raises: UserError: if they do not fit each other."""
    if callable(data):
        whole = [measured.shape[1:] for measured in opened if None not in measured.shape[1:]]
        metadata = next((measured.told["metadata"] for measured in opened if measured.told["metadata"]), {})
        data = data(tuple(whole[0]) if whole else None, metadata)
    images, labels, class_names = np.asarray(data[0]), np.asarray(data[1]), data[2]
    if images.ndim != 4 or images.dtype != np.uint8 or len(images) != len(labels) or not len(images):
        raise UserError(
            "data must be uint8 images (count, height, width, channels) with as many labels. "
            f"Received {images.dtype} {images.shape} and {len(labels)} labels."
        )
    if max(batches) > len(images):
        raise UserError(f"batches: a batch of {max(batches)} needs as many images. Received {len(images)} images.")
    return images, labels, class_names


def _load(measured, file, images, class_names, scale):
    """Give an artefact the images, if it takes them and has their classes."""
    wanted = images.shape[1:]
    if any(a not in (None, b) for a, b in zip(measured.shape[1:], wanted, strict=True)):
        raise Unusable(f"it takes images of shape {_text(measured.shape[1:])}; those of the data are {_text(wanted)}")
    labels = measured.told["metadata"].get("labels")
    if labels and class_names and [" ".join(str(n).split()) for n in class_names] != [str(n) for n in labels]:
        raise Unusable(
            f"its labels are not the data's: {', '.join(labels[:3])}, ...; {', '.join(class_names[:3])}, ..."
        )
    if measured.is_real and scale is None:
        raise Unusable("it takes real numbers, and no .keras file is given to say how images are scaled")
    measured.process.ask("load", images=file, **(scale if measured.is_real else {}))


def _text(shape):
    return "unknown" if shape is None else "(" + ", ".join("?" if side is None else str(side) for side in shape) + ")"


def _without_failed(opened, failed, step, *arguments):
    """The artefacts for which a step works; the others are noted."""
    left = []
    for measured in opened:
        try:
            step(measured, *arguments)
            left.append(measured)
        except Unusable as error:
            failed.append((str(measured.path), _reason(measured.path, error)))
    return left


def _warm_up(measured, batches):
    (first,) = measured.process.ask("time", batch=batches[0], calls=1)["seconds"]
    measured.warm_up = measured.told["open_seconds"] + first


def _time_in_turn(opened, batch, rounds, failed, progress):
    calls = {}
    for measured in list(opened):
        try:
            seconds = measured.process.ask("time", batch=batch, calls=WARM_UP_RUNS)["seconds"]
        except Unusable as error:
            failed.append((str(measured.path), _reason(measured.path, error)))
            opened.remove(measured)
            continue
        calls[measured.path] = min(max(round(ROUND_SECONDS / min(seconds)), 1), MOST_CALLS)
        measured.seconds[batch] = []
    for number in range(rounds):
        progress(f"batch {batch}, round {number + 1} of {rounds}")
        turn = number % max(len(opened), 1)
        for measured in opened[turn:] + opened[:turn]:  # none is always behind the same one
            count = calls[measured.path]
            reply = measured.process.ask("time", batch=batch, calls=count, start=number * count)
            measured.seconds[batch].append(reply["seconds"])


def _read_memory(measured):
    measured.memory = measured.process.ask("memory")["peak_memory_mib"]


def _predict(measured, folder, num_classes, progress):
    progress(f"outputs of {measured.path}")
    measured.process.ask("predict", batch=PREDICTED, output=f"{folder}/outputs.npz")
    with np.load(f"{folder}/outputs.npz", allow_pickle=False) as found:
        measured.outputs = named_outputs(found)
    if not measured.outputs:
        raise Unusable(f"its outputs ({', '.join(measured.told['outputs'])}) hold no single one that is a classifier's")
    if any(not np.isfinite(rows).all() for rows in measured.outputs.values()):
        raise Unusable("its outputs are not finite (NaN or infinite)")
    if num_classes and units_of(measured.outputs) != num_classes:
        raise Unusable(f"it has {units_of(measured.outputs)} classes, the data {num_classes}")


def _report(opened, labels, batches, rounds, threads, reference, skipped, failed):
    keras_models = [measured for measured in opened if measured.told["format"] == "keras"]
    exact = [measured for measured in keras_models if measured.told["metadata"]["precision"] == "float32"]
    compared = next(
        (one for one in keras_models if reference is not None and one.path == pathlib.Path(reference)), None
    )
    compared = compared or next(iter(exact + keras_models), None)
    baseline = next((measured for measured in keras_models if measured.told["is_folded"]), compared)
    rows = [_row(measured, labels, batches, compared, baseline) for measured in opened]
    return BenchmarkReport(
        rows,
        skipped,
        failed,
        None if compared is None else str(compared.path),
        None if baseline is None else str(baseline.path),
        len(labels),
        threads,
        batches,
        rounds,
    )


def _row(measured, labels, batches, compared, baseline):
    told, notes = measured.told, []
    if told["batch"] is not None and set(batches) != {told["batch"]}:
        notes.append(f"it fixes its batch at {told['batch']}: others are filled up or cut into runs of it")
    if measured is compared and told["metadata"]["precision"] != "float32":
        notes.append(f"it computes in {told['metadata']['precision']}: what differs from it holds its rounding, too")
    if measured.is_real:
        notes.append("it takes real numbers: the preprocessing stands before it, in the time too")
    row = {
        "artefact": str(measured.path),
        "format": told["format"],
        "form": {True: "folded", False: "unfolded", None: None}[told["is_folded"]],
        "precision": told["metadata"].get("precision"),
        "runtime": told["runtime"],
        "size_bytes": files.size_of(measured.path),
        "open_seconds": told["open_seconds"],
        "warm_up_seconds": measured.warm_up,
        "latency": {str(batch): _latency(measured, baseline, batch) for batch in batches},
        "peak_memory_mib": measured.memory,
        "memory_before_mib": told["memory_before_mib"],
        "accuracy": float(np.mean(classes_of(measured.outputs) == labels)),
    }
    if compared is None:
        return row | dict.fromkeys(("agreement", "compared", "max_abs_difference", "sqnr_db")) | {"notes": notes}
    found = compare(measured.outputs, compared.outputs)
    if found["compared"] is None:
        notes.append("it gives nothing that the Keras model gives: only the classes are compared")
    return row | found | {"notes": notes}


def _latency(measured, baseline, batch):
    seconds = [one for round_ in measured.seconds[batch] for one in round_]
    median = statistics.median(seconds)
    found = {
        "median_ms": 1e3 * median,
        "p95_ms": 1e3 * float(np.percentile(seconds, 95)),
        "images_per_second": batch / median,
        "calls": len(seconds),
    }
    if baseline is None:
        return found | {"times_faster": None, "times_faster_range": None}
    pairs = zip(baseline.seconds[batch], measured.seconds[batch], strict=True)
    ratios = [statistics.median(theirs) / statistics.median(ours) for theirs, ours in pairs]
    return found | {"times_faster": statistics.median(ratios), "times_faster_range": [min(ratios), max(ratios)]}
