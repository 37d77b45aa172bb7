"""An exported SavedModel reloaded in a clean process and compared with the model."""

import keras
import numpy as np
from scipy.special import softmax

from dirac_keras.deployment.clean_process import run_in_clean_process
from dirac_keras.deployment.image_spec import LABELS_FILE
from dirac_keras.errors import RunError
from dirac_keras.graph.casting import has_low_precision
from dirac_keras.graph.softmax import ends_in_softmax

# Largest difference, relative to the largest output. The reloaded graph may add up in another order: rounding
# of a deep float32 chain stays near 1e-6, a wrong mean or a lost weight is far above 1e-4.
TOLERANCE = 1e-4
LOW_PRECISION_TOLERANCE = 5e-2  # bfloat16 keeps 8 bits: one rounding is 4e-3, a chain of layers collects some
CHECK_BATCH = 3
CHECK_SIDE = 64  # pixels or steps where the model leaves a side open


def verify_saved_model(model, folder, spec, input_specs, signatures, notes):
    """Largest absolute difference over all signatures.

    Args:
        model: `keras.Model` that was exported.
        folder: `pathlib.Path` of the SavedModel.
        spec: `ImageSpec`, or None for a model without preprocessing and labels.
        input_specs: what `graph.inputs.input_specs` gave for the model.
        signatures: dict, as `ExportReport` has it.
        notes: list of str, to which this adds what the reader should know.

    Raises: RunError: if one is above the tolerance.
    """
    inputs, expected = _check_cases(model, spec, input_specs, signatures)
    outputs = run_in_clean_process(folder, inputs)
    tolerance = LOW_PRECISION_TOLERANCE if has_low_precision(model) else TOLERANCE
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
        if written != spec.label_lines():
            raise RunError(f"the artefact's {LABELS_FILE} is not the class names. Nothing was written.")
    return largest


def _is_constant(reference, tolerance):
    """Whether the examples of a batch differ by less than would be noticed."""
    return float(np.max(np.ptp(reference, axis=0), initial=0.0)) <= tolerance * np.max(np.abs(reference), initial=0.0)


def _check_labels(name, outputs, spec):
    names = np.array(spec.label_lines())
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
        outputs = {"logits": raw, "probabilities": softmax(raw, axis=-1)}
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
