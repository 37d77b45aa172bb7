"""TensorFlow's SavedModel: written, reloaded and compared."""

import contextlib
import logging
import pathlib
import tempfile

import keras
import numpy as np

from dirac_keras.deployment.clean_process import run_in_clean_process
from dirac_keras.errors import RunError, UserError
from dirac_keras.graph.inputs import input_specs
from dirac_keras.graph.softmax import ends_in_softmax

LABELS_FILE = "labels.txt"


# Largest difference, relative to the largest output. The reloaded graph may add up in another order: rounding
# of a deep float32 chain stays near 1e-6, a wrong mean or a lost weight is far above 1e-4.
TOLERANCE = 1e-4


LOW_PRECISION_TOLERANCE = 5e-2  # bfloat16 keeps 8 bits: one rounding is 4e-3, a chain of layers collects some


CHECK_BATCH = 3


CHECK_SIDE = 64  # pixels or steps where the model leaves a side open


def export_saved_model(model, folder, image_spec, verify):
    """Write a SavedModel to `folder`; returns its signatures, the largest difference or None, and notes."""
    tf = _import_tensorflow()
    notes = []
    archive = keras.export.ExportArchive()
    specs = input_specs(model)
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


def _lines(names):
    """One line a name: a line break inside a name would shift all that follow."""
    return [" ".join(str(name).split()) for name in names]


def _import_tensorflow():
    try:
        import tensorflow as tf
    except ImportError:
        raise ImportError("format='saved_model' needs TensorFlow, also from JAX: pip install tensorflow") from None
    if keras.backend.backend() not in ("tensorflow", "jax", "torch"):
        raise UserError(
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


def _verify_saved_model(model, folder, spec, input_specs, signatures, notes):
    """Largest absolute difference over all signatures.

    Raises: RunError: if one is above the tolerance.
    """
    inputs, expected = _check_cases(model, spec, input_specs, signatures)
    outputs = run_in_clean_process(folder, inputs)
    tolerance = LOW_PRECISION_TOLERANCE if _has_low_precision(model) else TOLERANCE
    largest = 0.0
    for name, references in expected.items():
        for key, reference in references.items():
            output = outputs[name][key]
            difference = float(np.max(np.abs(output.astype("float64") - reference), initial=0.0))
            scale = float(np.max(np.abs(reference), initial=0.0))
            if not (output.shape == reference.shape and difference <= tolerance * scale + 1e-6):
                raise RunError(
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
            raise RunError(f"the artefact's {LABELS_FILE} is not the class names. Nothing was written.")
    return largest


def _is_constant(reference, tolerance):
    """Whether the examples of a batch differ by less than would be noticed."""
    return float(np.max(np.ptp(reference, axis=0), initial=0.0)) <= tolerance * np.max(np.abs(reference), initial=0.0)


def _check_labels(name, outputs, spec):
    names = np.array(_lines(spec.class_names))
    wanted = names[np.argmax(outputs["probabilities"], axis=-1)]
    if [label.decode() for label in outputs["label"]] != list(wanted):
        raise RunError(f"the reloaded artefact's signature {name} gives wrong labels. Nothing was written.")


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


def _has_low_precision(model):
    layers = [model, *getattr(model, "layers", ())]
    return any(
        layer.compute_dtype in ("float16", "bfloat16") or (layer is not model and _has_low_precision(layer))
        for layer in layers
    )
