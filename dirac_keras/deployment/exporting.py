"""`export(model, path)`: an artefact that serves without this package, written, reloaded and compared."""

import dataclasses
import logging
import pathlib

import keras

from dirac_keras.deployment.card import card_path, check_card, write_card, write_hub_files
from dirac_keras.deployment.classifier import image_shape_of
from dirac_keras.deployment.feeding import fed_data, input_type
from dirac_keras.deployment.formats.job import Job
from dirac_keras.deployment.formats.registry import FORMATS, INTEGER
from dirac_keras.deployment.heads import find_head, task_of
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.pictures import CALIBRATION, GIVEN, as_pictures, fed
from dirac_keras.deployment.placing import check_name, is_folder, parts_of, place, refuse_foreign
from dirac_keras.deployment.proof import prove
from dirac_keras.deployment.report import ExportReport
from dirac_keras.errors import UserError, check_choice
from dirac_keras.files.atomic import refuse_existing
from dirac_keras.files.together import bring_back_together
from dirac_keras.graph.casting import has_low_precision, to_float32
from dirac_keras.graph.finite import describe_nonfinite, nonfinite_weights
from dirac_keras.graph.functional import has_graph
from dirac_keras.graph.inputs import fixed_batch
from dirac_keras.graph.nested import all_layers
from dirac_keras.graph.preprocessing import find_preprocessing

logger = logging.getLogger("dirac_keras")
KEEP = "keep"  # precision: the model's own, of a SavedModel
DEFAULT_CALIBRATION = 512  # images


def export(
    model,
    path,
    format="saved_model",
    metadata=None,
    overwrite=False,
    verify=True,
    input=None,
    outputs=None,
    labels=None,
    image_size=None,
    max_pixels=None,
    precision="float32",
    calibration=None,
    batch=None,
    max_calibration=DEFAULT_CALIBRATION,
    max_accuracy_drop=None,
    min_sqnr=None,
    gate_data=None,
    opset=None,
    quantization=None,
    card=None,
    hub=False,
):
    """Write a model for serving, whole or not at all, and compare it with the model.

    | format | written | precisions |
    |---|---|---|
    | `saved_model` | a folder | float32, keep |
    | `onnx` | a file | float32, float16, int8, int4 |
    | `litert` | a file, `.tflite` | float32, float16, int8, int4 |
    | `openvino` | `NAME.xml`, `NAME.bin`, `NAME.json`; in a folder if `path` does not end in `.xml` | as `onnx` |

    ONNX, LiteRT and OpenVINO files take `images`, uint8 `(batch, height, width, channels)` of the model's size, and
    give `logits` and `probabilities`; the preprocessing is inside. Class names, mean, deviation, the rule for images of
    another size and the version are in the file, or beside it. A model that takes no images, or whose preprocessing is
    not known, keeps its own inputs and outputs. Int8 and int4 are in `docs/deployment.md`.

    A SavedModel has these signatures; the last three need `metadata["data"]` or `input`:

    | signature | input | output |
    |---|---|---|
    | `serve` | as the model | as the model |
    | `serving_default` | `images`: float32, scaled as the model takes them | `logits`, `probabilities`, `label` |
    | `serving_uint8` | `images`: uint8 `(batch, height, width, channels)` of any size | the same |
    | `serving_bytes` | `image_bytes`: encoded JPEG, PNG, GIF, BMP or WebP, `(batch,)` | the same |

    Without either, `serving_default` is `serve`. A model that gives probabilities has no `logits`; one number is the
    second of two classes. Layers that augment images are not active. A batch that the model fixes stays fixed.
    Preprocessing is the evaluation's: shorter side to `resize` and centre crop, or a plain resize to
    `image_shape`, rounded to whole pixel values, then `(image - mean) / std`. `serving_bytes` decodes files as training
    does: turned by their EXIF orientation if `metadata["data"]["exif_orientation"]` says so, of an animation the first
    frame. A file of more than `max_pixels` pixels, or that is no such image, is an error.
    The class names are in `assets/labels.txt`, one a line, the metadata in `dirac_keras.json`.

    Args:
        model: built `keras.Model`, any one: it need not be of this package. Fold it first for speed.
        path: of the artefact; its suffix may not be another format's. Folders above it are made.
        format: a key of `FORMATS`.
        metadata: dict, as `files.keras_file.load_model` returns it; `metadata["data"]` holds `image_shape`,
            `num_classes`, `class_names`, `mean`, `std` (0..255 units) and `resize`.
        overwrite: whether an artefact that is there is replaced; nothing else is.
        verify: whether to reload the artefact in a process that cannot import this package, and compare.
        input, outputs, labels, image_size, max_pixels: what a classifier of images is fed with, gives, calls its
            classes, its size where that is open, and the largest image file's; as in `evaluation.rank_files`. They
            override `metadata`.
        precision: one of the format's. A model that computes in float16 or bfloat16 is exported in float32 unless it is
            `"keep"`. Float16 halves the file; in LiteRT and OpenVINO it is the weights'.
        calibration: images, as `pictures.as_pictures` takes them: uint8 pixels, or floats that the model is fed with,
            of the model's size; with their classes, or without. Int8 and int4 need some hundred. In float the artefact
            is compared on them.
        batch: int, images that the artefact takes at once; None: any number, unless the model fixes it.
        max_calibration: int, images of `calibration` that are used at most, the first ones.
        max_accuracy_drop: float, points of accuracy that the artefact may lose on `gate_data`; or None.
        min_sqnr: float, dB, least signal to quantization noise ratio of the outputs on `gate_data`; or None.
        gate_data: images with their classes, as `calibration`; None: those of `calibration`, which flatter integers
            that were fitted to them: the report says so.
        opset: int, of ONNX; None: 18. Int4 is always of 21.
        quantization: dict, further arguments of `quantization.quantize`. Of its `finetuning`, `dataset` holds images as
            `calibration` does, with their classes for `targets="labels"`.
        card: `card.CardFacts`, for a model card: `README.md` in a folder, `NAME.SUFFIX.md` beside a file; None
            writes none.
        hub: whether `path` is a folder as hubs keep it: the artefact `model.SUFFIX`, `config.json`,
            `model.safetensors`.

    Returns: `ExportReport`.
    Raises: ValueError: if an argument does not fit, a weight is not finite or `path` cannot be written. ImportError: if
        the format's package is missing. RunError: if it cannot be converted, the reloaded artefact differs, or the gate
        is not met; then nothing is written.
    """
    check_precision(format, precision)
    if not isinstance(model, keras.Model) or not model.built:
        raise UserError(f"model must be a built keras.Model: call it once on data. Received model={model!r}.")
    path = pathlib.Path(path)
    check_name(path, format, hub)
    _check_opset(format, precision, opset)
    folder = is_folder(path, format, hub)
    if not folder:
        bring_back_together(parts_of(path, format))
    refuse_existing(path, overwrite)
    refuse_foreign(path, format, overwrite)
    if card is not None and not folder:
        check_card(card_path(path, is_folder=False), overwrite)
    if found := nonfinite_weights(model):
        raise UserError(
            f"model: weights that are not finite (NaN or infinite) cannot serve: {describe_nonfinite(found)}. Train "
            "again, or take an earlier checkpoint."
        )
    _check_sides(model, precision)
    _check_batch(model, batch)
    original = model = _in_precision(model, format, precision)
    metadata, told = dict(metadata or {}), []
    image_spec = head = None
    if metadata.get("data") or input is not None or _layers_say(model):
        try:
            data, feed = fed_data(model, metadata.get("data"), input, labels, image_size, max_pixels)
            image_spec = ImageSpec.from_metadata({**metadata, "data": data}, model)
            head = find_head(model, outputs, task_of(data))
            _check_head(head, precision, max_accuracy_drop)
        except UserError as error:
            if metadata.get("data") or (input, outputs, labels, image_size, max_pixels) != (None,) * 5:
                raise
            image_spec = None  # nobody asked for more than the model as it is
            told.append(f"{_without(format)}, without preprocessing and labels: {error}")
        else:
            metadata["data"] = data
            logger.info("input: %s", feed.text)
    else:
        told.append(_what_lacks(model, format))
    if image_spec is None and (precision in INTEGER or calibration is not None):
        raise UserError(
            f"precision={precision!r} and `calibration` are for classifiers of images whose preprocessing is known: "
            'give `input`, what the images are scaled to, or `precision="float32"` and no `calibration`.'
        )
    job = Job(
        model=model,
        original=model,
        format=format,
        precision=precision,
        spec=image_spec,
        head=head,
        metadata=metadata,
        batch=batch,
        verify=verify,
        options={"opset": opset},
    )
    FORMATS[format].load().check(job)
    if precision in INTEGER:
        _check_max_calibration(max_calibration)
    pictures = None if calibration is None else as_pictures(calibration, image_spec, most=max_calibration)
    gate, judged = _find_gate(job, max_accuracy_drop, min_sqnr, gate_data, pictures)
    job = dataclasses.replace(job, pixels=None if pictures is None else pictures.pixels)
    if precision in INTEGER:
        job, notes = _quantized(job, pictures, quantization or {})
        told += notes
    with place(path, format, hub) as written:
        told += FORMATS[format].write(job, written)
        FORMATS[format].load().describe(job, written)
        if format == "saved_model":
            result = {"signatures": job.options["signatures"], "max_abs_difference": job.options["difference"]}
        else:
            result = _prove(job, written, pictures, gate, judged) if verify else _read(written)
        if job.quantization is not None:
            result["quantization"] = {**job.quantization.to_dict(), "text": str(job.quantization)}
        size = sum(file.stat().st_size for file in _files(written))
        report = ExportReport(str(path), format, size_bytes=size, notes=tuple(told), precision=precision, **result)
        inside = written if written.is_dir() else written.parent
        if hub:
            write_hub_files(inside, original, metadata, card)
        if card is not None:
            write_card(inside if folder else written, card, original, metadata, report)
    return report


def check_precision(format, precision):
    """Raise ValueError for a format that is none, or that lacks a precision."""
    check_choice("format", format, FORMATS)
    precisions = (*FORMATS[format].precisions, *([KEEP] if format == "saved_model" else []))
    if precision not in precisions:
        others = [name for name, other in FORMATS.items() if precision in other.precisions]
        others = others or (["saved_model"] if precision == KEEP else [])
        hint = f" {precision} is in the formats {', '.join(others)}." if others else ""
        raise UserError(
            f"precision of format {format} must be one of {', '.join(precisions)}. Received "
            f"precision={precision!r}.{hint}"
        )


def _check_max_calibration(count):
    from dirac_keras.deployment.quantization.calibration import LEAST

    if count < LEAST:
        raise UserError(f"`max_calibration` must be at least {LEAST} images for integers. Received {count}.")


def _check_head(head, precision, max_accuracy_drop):
    """What is measured for classes alone."""
    if head.task != "classes" and max_accuracy_drop is not None:
        raise UserError(
            f"`max_accuracy_drop` is for networks with one class for each image; this one gives {head.task}. Give "
            "`min_sqnr` instead."
        )
    if head.task == "values" and precision in INTEGER:
        raise UserError(
            f"precision={precision!r} is for networks that give classes or labels; this one gives values. Give "
            '`precision="float32"` or `"float16"`.'
        )


def _check_opset(format, precision, opset):
    if opset is None:
        return
    if format != "onnx":
        raise UserError(f"`opset` is of the format onnx. Leave it out. Received opset={opset}, format={format!r}.")
    if precision == "int4":
        raise UserError(f"`opset` is 21 in int4, the first with integers of 4 bits. Leave it out. Received {opset}.")


def _in_precision(model, format, precision):
    layers = (model, *all_layers(model))
    is_double = format != "saved_model" and any(layer.compute_dtype == "float64" for layer in layers)
    if precision == KEEP or not (has_low_precision(model) or is_double):
        return model
    if not has_graph(model):
        raise UserError(
            f"precision: model {model.name} does not compute in float32, and its class's code cannot be copied to do "
            "so. "
            'Give `format="saved_model"` with `precision="keep"`, or a Functional model.'
        )
    return to_float32(model)


def _check_sides(model, precision):
    """Integers are for one image in, the numbers of one classifier out."""
    for what in ("input", "output") if precision in INTEGER else ():
        tensors = keras.tree.flatten(getattr(model, f"{what}s", None))
        if len(tensors) > 1:
            names = ", ".join(tensor.name for tensor in tensors)
            raise UserError(
                f"precision={precision!r} is for models of one input and one output. Received {len(tensors)} {what}s "
                f"({names}). Give another `precision`, or the part that you mean: keras.Model(model.inputs, "
                "model.outputs[0])."
            )


def _check_batch(model, batch):
    if batch is None:
        return
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise UserError(f"batch must be a whole number above 0, or None for any. Received batch={batch!r}.")
    own = fixed_batch(model)
    if own not in (None, batch):
        raise UserError(
            f"batch: the model takes {own} samples at once and no other number: its layers have it in their shapes or "
            f"keep a state for each. Leave `batch` out. Received batch={batch}."
        )


def _layers_say(model):
    """Whether the layers of a classifier of images say what it is fed with."""
    if not _takes_images(model):
        return False
    found = find_preprocessing(model)
    return input_type(model).startswith(("int", "uint")) or (found is not None and found.expects is not None)


def _without(format):
    return "the float signature alone" if format == "saved_model" else "the artefact takes the model's own inputs"


def _what_lacks(model, format):
    what = _without(format)
    if not _takes_images(model):
        return f"no metadata of the data set: {what}, without preprocessing and labels"
    adds = "adds those that take images" if format == "saved_model" else "puts the preprocessing of images inside"
    return f"no metadata of the data set: {what}; `input` {adds}"


def _takes_images(model):
    try:
        return bool(image_shape_of(model))
    except UserError:
        return False


def _find_gate(job, max_accuracy_drop, min_sqnr, gate_data, pictures):
    """`(Gate, Pictures)`, or None twice."""
    if max_accuracy_drop is None and min_sqnr is None:
        return None, None
    from dirac_keras.deployment.quantization import Gate

    if job.format == "saved_model" or job.spec is None or not job.verify:
        raise UserError(
            "`max_accuracy_drop` and `min_sqnr` are for verified classifiers of images in the formats "
            f"{', '.join(name for name in FORMATS if name != 'saved_model')}: a SavedModel has the model's own outputs."
        )
    judged = pictures if gate_data is None else as_pictures(gate_data, job.spec, "gate_data")
    if gate_data is None and judged is not None and job.precision in INTEGER:
        judged = dataclasses.replace(judged, what=CALIBRATION)
    if judged is None:
        raise UserError("`max_accuracy_drop` and `min_sqnr` need images to measure on: give `gate_data`.")
    if max_accuracy_drop is not None and judged.labels is None:
        raise UserError("`max_accuracy_drop` needs images with their classes: give `gate_data`.")
    return Gate(max_accuracy_drop=max_accuracy_drop, min_sqnr=min_sqnr), judged


def _quantized(job, pictures, options):
    """`(Job with the rounded network, what the reader should know of the images)`."""
    from dirac_keras.deployment.quantization import quantize
    from dirac_keras.deployment.quantization.calibration import as_calibration_set

    if pictures is None:
        raise UserError(
            f"precision={job.precision!r} needs `calibration`: some hundred images of those that the model will see; "
            "labels are not needed."
        )
    if options.get("identity_in_float") and (job.format == "litert" or job.precision != "int4"):
        raise UserError("quantization: `identity_in_float` is for the precision int4 of the formats onnx and openvino.")
    images = fed(pictures.pixels, job.spec)
    if job.format != "litert":  # which is integers from end to end
        # Kernels of 4 bits are restored as the file is loaded, the identity taps with them.
        restored = {"activation_bits": None, "identity_in_float": True} if job.precision == "int4" else {}
        options = {"float_outputs": True, **restored, **options}
        if options.get("identity_in_float") and "identity_apart" in options.get("cures", ()):
            raise UserError(
                f"`identity_apart` has no effect in int4 of {job.format}: the identity taps are in float there anyway, "
                "at no cost. Leave it out; it is for int8, and for int4 of litert."
            )
    if options.get("finetuning") is not None:
        options = {**options, "finetuning": _on_pixels(options["finetuning"], job.spec)}
    calibration = as_calibration_set(images, job.original, options.get("seed", 0), pictures.labels)
    model, report = quantize(job.original, calibration, bits=INTEGER[job.precision], **options)
    return dataclasses.replace(job, model=model, quantization=report), calibration.notes


def _on_pixels(finetuning, spec):
    """Arguments of `finetune` with its images as pixels, which are scaled batch by batch: a float has four bytes."""
    if finetuning.get("dataset") is None:
        return finetuning
    found = as_pictures(finetuning["dataset"], spec, "finetuning")
    dataset = found.pixels if found.labels is None else (found.pixels, found.labels)
    return {**finetuning, "dataset": dataset, "prepare": lambda pixels: fed(pixels, spec)}


def _prove(job, written, pictures, gate, judged):
    proof = prove(job, written, pictures, gate, judged)
    compared = {name: getattr(proof, name) for name in ("images", "of", "real", "sqnr_db", "agreement")}
    measured = None
    if proof.gate is not None:
        measured = {
            name: getattr(proof.gate, name) for name in ("accuracy", "accuracy_before", "accuracy_drop", "sqnr_db")
        }
        text = str(proof.gate)  # ... on 359 images
        text = text if judged.what == GIVEN else text.removesuffix("images") + judged.what
        measured |= {"images": len(judged), "of": judged.what, "text": text}
    return {
        "signatures": {"serve": proof.signature},
        "max_abs_difference": proof.max_abs_difference,
        "runtime": proof.runtime,
        "compared": compared,
        "gate": measured,
    }


def _read(written):
    from dirac_keras.deployment.proof import describe_sides
    from dirac_keras.deployment.runtimes import open_artefact

    runner = open_artefact(written)
    return {"signatures": {"serve": describe_sides(runner.inputs, runner.outputs)}, "max_abs_difference": None}


def _files(path):
    return [file for file in (path if path.is_dir() else path.parent).rglob("*") if file.is_file()]
