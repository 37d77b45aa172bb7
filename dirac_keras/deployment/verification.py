"""An exported SavedModel reloaded in a clean process and compared with the model."""

import keras
import numpy as np

from dirac_keras.deployment.feeding import to_input
from dirac_keras.deployment.heads import are_probabilities
from dirac_keras.deployment.image_spec import LABELS_FILE
from dirac_keras.deployment.runtimes import run_in_clean_process
from dirac_keras.errors import RunError
from dirac_keras.graph.casting import has_low_precision
from dirac_keras.graph.functional import has_graph
from dirac_keras.graph.inputs import fixed_batch
from dirac_keras.graph.nested import all_layers
from dirac_keras.graph.samples import random_inputs
from dirac_keras.graph.sizes import working_shapes

# Largest difference, relative to the largest output. The reloaded graph may add up in another order: rounding
# of a deep float32 chain stays near 1e-6, a wrong mean or a lost weight is far above 1e-4.
TOLERANCE = 1e-4
LOW_PRECISION_TOLERANCE = 5e-2  # bfloat16 keeps 8 bits: one rounding is 4e-3, a chain of layers collects some
CHECK_BATCH = 3
CHECK_SIDE = 64  # pixels or steps where a subclass leaves a side open


def verify_saved_model(model, folder, spec, head, input_specs, signatures, notes, batch=None, pixels=None):
    """Largest absolute difference over all signatures.

    Args:
        model: `keras.Model` that was exported.
        folder: `pathlib.Path` of the SavedModel.
        spec: `ImageSpec`, or None for a model without preprocessing and labels.
        head: `heads.Head`, or None likewise.
        input_specs: what `graph.inputs.input_specs` gave for the model.
        signatures: dict, as `ExportReport` has it.
        notes: list of str, to which this adds what the reader should know.
        batch: int, samples that the signatures take; None: any number.
        pixels: array uint8 `(images, *image_shape)` to compare on; None: random ones.

    Raises: RunError: if one is above the tolerance, or an output is not finite or no distribution over the classes.
    """
    inputs, expected = _check_cases(model, spec, head, input_specs, signatures, batch, pixels)
    _check_finite(expected)
    has_state = any(getattr(layer, "stateful", False) for layer in all_layers(model))
    outputs = run_signatures(folder, inputs, has_state)
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
            _check_probabilities(name, outputs[name], head)
    if all(_is_constant(reference, tolerance) for reference in expected["serve"].values()):
        notes.append("the outputs hardly depend on the input: the comparison says little")
    if spec is not None:
        written = (folder / "assets" / LABELS_FILE).read_text(encoding="utf-8").splitlines()
        if written != spec.label_lines():
            raise RunError(f"the artefact's {LABELS_FILE} is not the class names. Nothing was written.")
    return largest


def run_signatures(folder, inputs, has_state=False):
    """Outputs of the signatures of a SavedModel, in a process that cannot import this package.

    Args:
        folder: `pathlib.Path` of the SavedModel.
        inputs: dict, signature -> its inputs by name.
        has_state: whether a call changes what the next one gives; then each signature is run on a fresh copy.
    """
    cases = [{"inputs": arguments, "signature": name, "fresh": has_state} for name, arguments in inputs.items()]
    try:
        outputs = run_in_clean_process(folder, cases)["outputs"]
    except RunError as error:
        raise RunError(f"{error}. Nothing was written.") from None
    return dict(zip(inputs, outputs, strict=True))


def _is_constant(reference, tolerance):
    """Whether the examples of a batch differ by less than would be noticed."""
    return float(np.max(np.ptp(reference, axis=0), initial=0.0)) <= tolerance * np.max(np.abs(reference), initial=0.0)


def _check_finite(expected):
    for name, references in expected.items():
        for key, reference in references.items():
            if reference.dtype.kind == "f" and not np.isfinite(reference).all():
                raise RunError(
                    f"the model's output {key} is not finite (NaN or infinite) on random inputs (signature {name}), "
                    "though its weights are. Nothing was written."
                )


def _check_probabilities(name, outputs, head):
    """By the numbers alone, since what the graph says decided what was written."""
    if head.is_asked or head.task != "classes":
        return
    if not are_probabilities(outputs["probabilities"]):
        raise RunError(f"the artefact's probabilities (signature {name}) do not sum to 1. Nothing was written.")
    if "logits" in outputs and are_probabilities(outputs["logits"]):
        raise RunError(
            f"the model's outputs sum to 1 (signature {name}), so a softmax would be taken twice: they look like "
            'probabilities. Give `outputs="probabilities"`. Nothing was written.'
        )


def _check_labels(name, outputs, spec):
    names = np.array(spec.label_lines())
    wanted = names[np.argmax(outputs["probabilities"], axis=-1)]
    if [label.decode() for label in outputs["label"]] != list(wanted):
        raise RunError(f"the reloaded artefact's signature {name} gives wrong labels. Nothing was written.")


def _check_cases(model, spec, head, input_specs, signatures, batch, pixels):
    """Inputs of every signature, and what the model here gives for them."""
    random = np.random.default_rng(0)
    if spec is None:
        named, outputs = random_case(model, input_specs, batch)
        return {name: named for name in signatures}, {name: outputs for name in signatures}

    import tensorflow as tf

    height, width, channels = spec.image_shape
    # Images that the view only cuts, so that the reference can be worked out without it.
    sides = (height, width) if spec.resize is None else (spec.resize, spec.resize)
    batch = batch or fixed_batch(model) or CHECK_BATCH
    pictures = random.integers(0, 256, (batch, *sides, channels), dtype=np.uint8)
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    views = pictures[:, top : top + height, left : left + width]
    if pixels is not None:
        views[:] = pixels[np.arange(batch) % len(pixels)]
    images = ((views.astype("float64") - spec.mean) / spec.std).astype("float32")
    taken = to_input(model, images)
    raw = keras.tree.flatten(_run_here(model, taken))[0]
    outputs = {"values": raw} if head.gives == "values" else {"probabilities": head.probabilities(raw)}
    if head.gives == "logits":
        outputs["logits"] = raw
    (serve_input,) = signatures["serve"]["inputs"]
    (serve_output,) = signatures["serve"]["outputs"]
    inputs = {
        "serve": {serve_input: taken},
        "serving_default": {"images": images},
        "serving_uint8": {"images": pictures},
    }
    if "serving_bytes" in signatures:
        inputs["serving_bytes"] = {"image_bytes": [tf.io.encode_png(picture).numpy() for picture in pictures]}
    return inputs, {name: {serve_output: raw} if name == "serve" else outputs for name in inputs}


def random_case(model, input_specs, batch=None):
    """Random inputs of a model by the names that the signatures give them, and its outputs by theirs.

    Args:
        model: `keras.Model`.
        input_specs: what `graph.inputs.input_specs` gave for the model.
        batch: int, samples; None: the batch that the model fixes, else some.
    """
    values = _random_inputs(model, np.random.default_rng(0), input_specs, batch)
    outputs = _run_here(model, values)
    if not isinstance(outputs, dict):
        outputs = {f"output_{i}": value for i, value in enumerate(keras.tree.flatten(outputs))}
    names = [spec.name for spec in keras.tree.flatten(input_specs)]
    return dict(zip(names, keras.tree.flatten(values), strict=True)), outputs


def _random_inputs(model, random, input_specs, batch=None):
    """Arrays in the structure of the model's inputs."""
    batch = batch or fixed_batch(model) or CHECK_BATCH
    if has_graph(model):
        tensors = random_inputs(model, working_shapes(model, batch), levels=2)
        return keras.tree.map_structure(np.asarray, tensors)

    def draw(spec):  # a subclass, whose inputs are known by their build alone
        shape = (batch, *(CHECK_SIDE if side is None else side for side in spec.shape[1:]))
        is_float = "float" in spec.dtype
        return (random.standard_normal(shape) if is_float else random.integers(0, 2, shape)).astype(spec.dtype)

    return keras.tree.map_structure(draw, input_specs)


def _run_here(model, inputs):
    # On the CPU as the clean process: a GPU's own rounding (TF32) is no fault of the artefact.
    with keras.device("cpu:0"):
        outputs = model(keras.tree.map_structure(keras.ops.convert_to_tensor, inputs), training=False)
    return keras.tree.map_structure(lambda x: keras.ops.convert_to_numpy(x).astype("float64"), outputs)
