"""`export(model, path)`: an artefact that serves without this package, written, reloaded and compared."""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tempfile

import keras
import numpy as np

from dirac_keras.artifact import METADATA_MEMBER, atomic_path, refuse_existing

LABELS_FILE = "labels.txt"
# Largest difference, relative to the largest output. The reloaded graph may add up in another order: rounding
# of a deep float32 chain stays near 1e-6, a wrong mean or a lost weight is far above 1e-4.
TOLERANCE = 1e-4
LOW_PRECISION_TOLERANCE = 5e-2  # bfloat16 keeps 8 bits: one rounding is 4e-3, a chain of layers collects some
CHECK_BATCH = 3
CHECK_SIDE = 64  # pixels or steps where the model leaves a side open
CHECK_TIMEOUT_SECONDS = 1800


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        path: str.
        format: str.
        signatures: dict, name -> `{"inputs": {name: "dtype shape"}, "outputs": {name: "dtype shape"}}`.
        max_abs_difference: float, largest between the model and the reloaded artefact over all signatures;
            None if it was not verified.
        size_bytes: int.
        notes: tuple of str, what the reader should know.
    """

    path: str
    format: str
    signatures: dict
    max_abs_difference: float | None
    size_bytes: int
    notes: tuple = ()

    def to_dict(self):
        """A JSON-safe dict."""
        return {**dataclasses.asdict(self), "notes": list(self.notes)}

    def __str__(self):
        checked = "not verified"
        if self.max_abs_difference is not None:
            checked = f"reloaded in a clean process, max abs difference {self.max_abs_difference:.2g}"
        lines = [f"{self.format} {self.path} ({self.size_bytes / 1e6:.1f} MB; {checked})"]
        for name, signature in self.signatures.items():
            sides = [", ".join(f"{k}: {v}" for k, v in signature[side].items()) for side in ("inputs", "outputs")]
            lines.append(f"  {name}: {' -> '.join(sides)}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def export(model, path, format="saved_model", metadata=None, overwrite=False, verify=True):
    """Write a model for serving, whole or not at all, and compare it with the model.

    A SavedModel has these signatures; the last three need `metadata["data"]`:

    | signature | input | output |
    |---|---|---|
    | `serve` | as the model | as the model |
    | `serving_default` | `images`: float32, normalised | `logits`, `probabilities`, `label` |
    | `serving_uint8` | `images`: uint8 `(batch, height, width, channels)` of any size | the same |
    | `serving_bytes` | `image_bytes`: encoded JPEG, PNG, GIF or BMP, `(batch,)` | the same |

    Without `metadata["data"]`, `serving_default` is `serve`. A model that ends in softmax has no `logits`.
    Preprocessing is the evaluation's: shorter side to `resize` and centre crop, or a plain resize to
    `image_shape`, rounded to whole pixel values, then `(image - mean) / std`. EXIF orientation is ignored.
    The class names are in `assets/labels.txt`, one a line, the metadata in `dirac_keras.json`.

    Args:
        model: built `keras.Model`, any one: it need not be of this package. Fold it first for speed.
        path: folder of the artefact.
        format: a key of `FORMATS`.
        metadata: dict, as `artifact.load_model` returns it; `metadata["data"]` holds `image_shape`,
            `num_classes`, `class_names`, `mean`, `std` (0..255 units) and `resize`.
        overwrite: whether an artefact that is there is replaced; nothing else is.
        verify: whether to reload the artefact in a process that cannot import this package, and compare.

    Returns: `ExportReport`.
    Raises: ValueError: if an argument does not fit or `path` cannot be written. ImportError: if the format's
        package is missing. RuntimeError: if the reloaded artefact differs; then nothing is written.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}. Received format={format!r}.")
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"model must be a built keras.Model: call it once on data. Received model={model!r}.")
    path = pathlib.Path(path)
    refuse_existing(path, overwrite)
    _refuse_foreign(path)
    metadata = metadata or {}
    image_spec = ImageSpec.from_metadata(metadata, model) if metadata.get("data") else None
    with atomic_path(path) as temporary:
        signatures, difference, notes = FORMATS[format](model, temporary, image_spec, verify)
        if metadata:
            (temporary / METADATA_MEMBER).write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return ExportReport(str(path), format, signatures, difference, size, tuple(notes))


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """What turns an image into the model's input, and its output into a label.

    Args: as in `metadata["data"]`.
    """

    image_shape: tuple
    class_names: tuple
    mean: tuple
    std: tuple
    resize: int | None

    @classmethod
    def from_metadata(cls, metadata, model):
        """Read `metadata["data"]`.

        Raises: ValueError: if it is incomplete or does not fit `model`.
        """
        data = metadata["data"]
        missing = sorted({"image_shape", "num_classes", "mean", "std"} - set(data))
        if missing:
            raise ValueError(f"metadata['data'] lacks {', '.join(missing)}. Received the keys {sorted(data)}.")
        shape, num_classes = tuple(data["image_shape"]), data["num_classes"]
        names = tuple(data.get("class_names") or (str(index) for index in range(num_classes)))
        spec = cls(shape, names, tuple(data["mean"]), tuple(data["std"]), data.get("resize"))
        if not len(spec.mean) == len(spec.std) == shape[-1]:
            raise ValueError(
                f"mean and std must have one value for each of the {shape[-1]} channels. "
                f"Received mean={data['mean']}, std={data['std']}."
            )
        if len(names) != num_classes:
            raise ValueError(f"class_names must be {num_classes} names (num_classes). Received {len(names)}.")
        if spec.resize is not None and spec.resize < max(shape[:2]):
            raise ValueError(f"resize must be at least {max(shape[:2])}, a side of the crop. Received {spec.resize}.")
        inputs = keras.tree.flatten(_input_specs(model))
        if len(inputs) != 1 or not _fits(inputs[0].shape[1:], shape):
            raise ValueError(
                f"metadata['data'] has image_shape={shape}, "
                f"the model takes {[tuple(i.shape) for i in inputs]}. "
                "Give the metadata that the model was trained with, or none."
            )
        outputs = keras.tree.flatten(model.compute_output_shape((1, *shape)))  # flattens the shape too
        if outputs != [1, num_classes]:
            raise ValueError(
                f"metadata['data'] has num_classes={num_classes}, "
                f"the model gives an output of shape {tuple(outputs)}. "
                "Give the metadata that the model was trained with, or none."
            )
        return spec

    def view(self, images):
        """Scale and crop `(..., h, w, c)` uint8 to `image_shape`, uint8, as pipelines' evaluation does."""
        import tensorflow as tf

        height, width, channels = self.image_shape
        if self.resize is None:
            images = tf.image.resize(images, (height, width), antialias=True)
        else:
            sides = tf.cast(tf.shape(images)[-3:-1], tf.float32)
            scale = tf.cast(self.resize, tf.float32) / tf.reduce_min(sides)
            target = tf.maximum(tf.cast(tf.round(sides * scale), tf.int32), self.resize)
            images = tf.image.resize(images, target, antialias=True)
            top, left = tf.unstack((target - (height, width)) // 2)
            images = images[..., top : top + height, left : left + width, :]
        images = tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.uint8)
        return tf.ensure_shape(images, (*images.shape[:-3], height, width, channels))

    def normalize(self, images):
        """`(images - mean) / std` in float32, as pipelines computes it: one product and one sum."""
        import tensorflow as tf

        scale = tf.constant([1.0 / s for s in self.std], tf.float32)
        offset = tf.constant([-m / s for m, s in zip(self.mean, self.std, strict=True)], tf.float32)
        return tf.cast(images, tf.float32) * scale + offset


def _export_saved_model(model, folder, image_spec, verify):
    """Write a SavedModel to `folder`; returns its signatures, the largest difference or None, and notes."""
    tf = _import_tensorflow()
    notes = []
    archive = keras.export.ExportArchive()
    specs = _input_specs(model)
    serve = archive.track_and_add_endpoint("serve", model, [specs])
    # The folder of the label file has to outlive write_out: TensorFlow copies assets as it saves.
    with _quiet(tf), tempfile.TemporaryDirectory() as assets:
        if image_spec is None:
            notes.append("no metadata of the data set: the float signature alone, without preprocessing and labels")
        else:
            _add_image_endpoints(archive, serve, model, image_spec, pathlib.Path(assets), notes)
        archive.write_out(str(folder), verbose=False)
    signatures = _read_signatures(folder)
    difference = None
    if verify:
        difference = _verify_saved_model(model, folder, image_spec, specs, signatures, notes)
    return signatures, difference, notes


# Name -> function (model, folder, image_spec, verify) -> (signatures, difference, notes).
# ONNX and LiteRT come here.
FORMATS = {"saved_model": _export_saved_model}


def _add_image_endpoints(archive, serve, model, spec, assets, notes):
    import tensorflow as tf

    (assets / LABELS_FILE).write_text("".join(f"{name}\n" for name in _lines(spec.class_names)), encoding="utf-8")
    # ExportArchive carries a file into assets/ only with a table that reads it; this one serves the labels.
    labels = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(assets / LABELS_FILE),
            key_dtype=tf.int64,
            key_index=tf.lookup.TextFileIndex.LINE_NUMBER,
            value_dtype=tf.string,
            value_index=tf.lookup.TextFileIndex.WHOLE_LINE,
        ),
        default_value="",
    )
    archive.track(labels)
    is_softmax = ends_in_softmax(model)
    channels = spec.image_shape[-1]

    def classify(images):
        outputs = tf.cast(keras.tree.flatten(serve(images))[0], tf.float32)
        probabilities = outputs if is_softmax else tf.nn.softmax(outputs)
        result = {"probabilities": probabilities, "label": labels.lookup(tf.argmax(probabilities, axis=-1))}
        return result if is_softmax else {"logits": outputs, **result}

    def decode(data):
        image = tf.io.decode_image(data, channels=channels, expand_animations=False)
        image.set_shape((None, None, channels))
        return spec.view(image)

    def serving_default(images):
        return classify(images)

    def serving_uint8(images):
        return classify(spec.normalize(spec.view(images)))

    def serving_bytes(image_bytes):
        images = tf.map_fn(decode, image_bytes, fn_output_signature=tf.TensorSpec(spec.image_shape, tf.uint8))
        return classify(spec.normalize(images))

    endpoints = {
        serving_default: tf.TensorSpec((None, *spec.image_shape), tf.float32, "images"),
        serving_uint8: tf.TensorSpec((None, None, None, channels), tf.uint8, "images"),
        serving_bytes: tf.TensorSpec((None,), tf.string, "image_bytes"),
    }
    if channels not in (1, 3, 4):
        del endpoints[serving_bytes]
        notes.append(f"no serving_bytes: image files have 1, 3 or 4 channels, the model {channels}")
    for function, signature in endpoints.items():
        endpoint = tf.function(function, input_signature=[signature], autograph=False)
        endpoint.get_concrete_function()  # a traced function is taken as it is, whatever the backend
        archive.add_endpoint(function.__name__, endpoint)


def _input_specs(model):
    """`keras.InputSpec`s in the structure of the model's inputs, the batch open."""
    if getattr(model, "inputs", None):
        # Only a functional model has a structure of inputs, and `input`.
        structure = model.inputs if isinstance(model, keras.Sequential) else model.input
        if isinstance(structure, (list, tuple)) and len(structure) == 1:
            structure = structure[0]
        names = iter(_input_names(model.inputs))  # in the order of the flattened structure
        return keras.tree.map_structure(
            lambda x: keras.InputSpec(shape=(None, *x.shape[1:]), dtype=x.dtype, name=next(names)), structure
        )
    shape = (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, (tuple, list)) or not all(isinstance(side, (int, type(None))) for side in shape):
        raise ValueError(
            "model is a subclass whose inputs are not known. Wrap it: keras.Model(inputs, model(inputs)) "
            f"with keras.Input tensors, and export that. Received model={model!r}."
        )
    return keras.InputSpec(shape=(None, *shape[1:]), dtype=model.input_dtype or "float32", name="inputs")


def _input_names(tensors):
    """What the signatures call the inputs: Keras' names, without characters that TensorFlow refuses."""
    names = []
    for index, tensor in enumerate(tensors):
        name = re.sub(r"\W", "_", tensor.name, flags=re.ASCII)
        if re.fullmatch(r"keras_tensor(_\d+)?", name):  # nobody named it, and the count differs every time
            name = "inputs" if len(tensors) == 1 else f"inputs_{index}"
        names.append(name)
    return names


def ends_in_softmax(model):
    layer = model.layers[-1]
    if getattr(model, "output_names", None):
        with contextlib.suppress(ValueError):  # an output that is no layer's, as of a plain op
            layer = model.get_layer(model.output_names[0])
    if isinstance(layer, keras.Model):
        return ends_in_softmax(layer)
    return isinstance(layer, keras.layers.Softmax) or getattr(layer, "activation", None) is keras.activations.softmax


def _fits(shape, image_shape):
    return len(shape) == len(image_shape) and all(a in (None, b) for a, b in zip(shape, image_shape, strict=True))


def _lines(names):
    """One line a name: a line break inside a name would shift all that follow."""
    return [" ".join(str(name).split()) for name in names]


def _refuse_foreign(path):
    """`overwrite` replaces an artefact, never a folder of something else."""
    if not os.path.lexists(path) or (path / "saved_model.pb").exists():
        return
    if not path.is_dir() or any(path.iterdir()):
        raise ValueError(f"path: {path} exists and is no exported model, so it is not replaced. Give another path.")


def _import_tensorflow():
    try:
        import tensorflow as tf
    except ImportError:
        raise ImportError("format='saved_model' needs TensorFlow, also from JAX: pip install tensorflow") from None
    if keras.backend.backend() not in ("tensorflow", "jax", "torch"):
        raise ValueError(
            "format='saved_model' needs the tensorflow, jax or torch backend of Keras. "
            f"Received KERAS_BACKEND={keras.backend.backend()}."
        )
    return tf


@contextlib.contextmanager
def _quiet(tf):
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # "Assets written to: <the temporary folder>"
    try:
        yield
    finally:
        logger.setLevel(level)


def _read_signatures(folder):
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.dtypes import as_dtype

    def describe(tensor):
        sides = ["None" if side.size < 0 else str(side.size) for side in tensor.tensor_shape.dim]
        return f"{as_dtype(tensor.dtype).name} ({', '.join(sides)})"

    def describe_all(tensors):
        return {name: describe(tensor) for name, tensor in sorted(tensors.items())}

    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return {
        name: {"inputs": describe_all(signature.inputs), "outputs": describe_all(signature.outputs)}
        for name, signature in sorted(saved.meta_graphs[0].signature_def.items())
        if not name.startswith("__")
    }


# Runs where this package cannot be imported, from wherever it may be installed.
_CLEAN_PROCESS = """
import json, pickle, sys

folder, exchange, blocked, search_path = sys.argv[1:]

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == blocked:
            raise ImportError(f"the artefact needs {name}")

sys.path[:] = json.loads(search_path)
sys.meta_path.insert(0, Refuse())
import tensorflow as tf

with open(f"{exchange}/inputs.pickle", "rb") as file:
    inputs = pickle.load(file)
loaded = tf.saved_model.load(folder)
outputs = {}
for name, arguments in inputs.items():
    tensors = {key: tf.constant(value) for key, value in arguments.items()}
    outputs[name] = {key: value.numpy() for key, value in loaded.signatures[name](**tensors).items()}
assert blocked not in sys.modules
with open(f"{exchange}/outputs.pickle", "wb") as file:
    pickle.dump(outputs, file)
"""


def _verify_saved_model(model, folder, spec, input_specs, signatures, notes):
    """Largest absolute difference over all signatures.

    Raises: RuntimeError: if one is above the tolerance.
    """
    inputs, expected = _check_cases(model, spec, input_specs, signatures)
    outputs = _run_clean(folder, inputs)
    tolerance = LOW_PRECISION_TOLERANCE if _has_low_precision(model) else TOLERANCE
    largest = 0.0
    for name, references in expected.items():
        for key, reference in references.items():
            output = outputs[name][key]
            difference = float(np.max(np.abs(output.astype("float64") - reference), initial=0.0))
            scale = float(np.max(np.abs(reference), initial=0.0))
            if not (output.shape == reference.shape and difference <= tolerance * scale + 1e-6):
                raise RuntimeError(
                    f"the reloaded artefact differs from the model: signature {name}, output {key}, "
                    f"max abs difference {difference:.3g} for outputs up to {scale:.3g} "
                    f"(allowed {tolerance:g} of it). "
                    "Nothing was written."
                )
            largest = max(largest, difference)
        if spec is not None and "label" in outputs[name]:
            _check_labels(name, outputs[name], spec)
    if all(_is_constant(reference, tolerance) for reference in expected["serve"].values()):
        notes.append("the outputs hardly depend on the input: the comparison says little")
    if spec is not None:
        written = (folder / "assets" / LABELS_FILE).read_text(encoding="utf-8").splitlines()
        if written != _lines(spec.class_names):
            raise RuntimeError(f"the artefact's {LABELS_FILE} is not the class names. Nothing was written.")
    return largest


def _is_constant(reference, tolerance):
    """Whether the examples of a batch differ by less than would be noticed."""
    return float(np.max(np.ptp(reference, axis=0), initial=0.0)) <= tolerance * np.max(np.abs(reference), initial=0.0)


def _check_labels(name, outputs, spec):
    names = np.array(_lines(spec.class_names))
    wanted = names[np.argmax(outputs["probabilities"], axis=-1)]
    if [label.decode() for label in outputs["label"]] != list(wanted):
        raise RuntimeError(f"the reloaded artefact's signature {name} gives wrong labels. Nothing was written.")


def _check_cases(model, spec, input_specs, signatures):
    """Inputs of every signature, and what the model here gives for them."""
    random = np.random.default_rng(0)
    if spec is None:
        values = keras.tree.map_structure(lambda s: _random_input(random, s), input_specs)
        outputs = _run_here(model, values)
        if not isinstance(outputs, dict):
            outputs = {f"output_{i}": value for i, value in enumerate(keras.tree.flatten(outputs))}
        names = [s.name for s in keras.tree.flatten(input_specs)]
        named = dict(zip(names, keras.tree.flatten(values), strict=True))
        return {name: named for name in signatures}, {name: outputs for name in signatures}

    import tensorflow as tf

    height, width, channels = spec.image_shape
    # Images that the view only cuts, so that the reference can be worked out without it.
    sides = (height, width) if spec.resize is None else (spec.resize, spec.resize)
    pictures = random.integers(0, 256, (CHECK_BATCH, *sides, channels), dtype=np.uint8)
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    views = pictures[:, top : top + height, left : left + width]
    images = ((views.astype("float64") - spec.mean) / spec.std).astype("float32")
    raw = keras.tree.flatten(_run_here(model, images))[0]
    if ends_in_softmax(model):
        outputs = {"probabilities": raw}
    else:
        powers = np.exp(raw - raw.max(axis=-1, keepdims=True))
        outputs = {"logits": raw, "probabilities": powers / powers.sum(axis=-1, keepdims=True)}
    (serve_input,) = signatures["serve"]["inputs"]
    (serve_output,) = signatures["serve"]["outputs"]
    inputs = {
        "serve": {serve_input: images},
        "serving_default": {"images": images},
        "serving_uint8": {"images": pictures},
    }
    if "serving_bytes" in signatures:
        inputs["serving_bytes"] = {"image_bytes": [tf.io.encode_png(picture).numpy() for picture in pictures]}
    return inputs, {name: {serve_output: raw} if name == "serve" else outputs for name in inputs}


def _random_input(random, spec):
    shape = (CHECK_BATCH, *(CHECK_SIDE if side is None else side for side in spec.shape[1:]))
    if "float" in spec.dtype:
        return random.standard_normal(shape).astype("float32")
    return random.integers(0, 2, shape).astype(spec.dtype)  # 0 and 1 are indices of any embedding


def _run_here(model, inputs):
    # On the CPU as the clean process: a GPU's own rounding (TF32) is no fault of the artefact.
    with keras.device("cpu:0"):
        outputs = model(keras.tree.map_structure(keras.ops.convert_to_tensor, inputs), training=False)
    return keras.tree.map_structure(lambda x: keras.ops.convert_to_numpy(x).astype("float64"), outputs)


def _run_clean(folder, inputs):
    """Outputs of the artefact's signatures in a process of its own that cannot import this package."""
    package = __name__.split(".")[0]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSTARTUP")}
    # No GPU: this process may hold its memory.
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    with tempfile.TemporaryDirectory() as exchange:
        with open(f"{exchange}/inputs.pickle", "wb") as file:
            pickle.dump(inputs, file)
        arguments = [str(folder.resolve()), exchange, package, json.dumps([p for p in sys.path if p])]
        process = subprocess.run(
            [sys.executable, "-I", "-c", _CLEAN_PROCESS, *arguments],
            cwd=exchange,
            env=environment,
            capture_output=True,
            text=True,
            timeout=CHECK_TIMEOUT_SECONDS,
        )
        if process.returncode:
            last = process.stderr.strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
            raise RuntimeError(f"the artefact cannot be used in a clean process: {last[0]}. Nothing was written.")
        with open(f"{exchange}/outputs.pickle", "rb") as file:
            return pickle.load(file)


def _has_low_precision(model):
    layers = [model, *getattr(model, "layers", ())]
    return any(
        layer.compute_dtype in ("float16", "bfloat16") or (layer is not model and _has_low_precision(layer))
        for layer in layers
    )
