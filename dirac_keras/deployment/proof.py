"""An artefact with the preprocessing inside, run by its own runtime in a clean process and compared with the model."""

import dataclasses

import keras
import numpy as np
from scipy.special import expit, softmax

from dirac_keras.deployment.feeding import batch_runner
from dirac_keras.deployment.formats.registry import INTEGER
from dirac_keras.deployment.pictures import RANDOM, Pictures, fed
from dirac_keras.deployment.quantization.grids import signal_to_noise_db
from dirac_keras.deployment.runtimes import run_in_clean_process
from dirac_keras.deployment.served import INPUT, LOGITS, PROBABILITIES, VALUES, output_names
from dirac_keras.deployment.verification import TOLERANCE, random_case
from dirac_keras.errors import RunError
from dirac_keras.graph.inputs import fixed_batch, input_specs

# Largest difference from the model, relative to its largest output. float32: as for a SavedModel. float16 keeps 11
# bits: one rounding is 5e-4, a chain of layers collects some tens of them.
TOLERANCES = {"float32": TOLERANCE, "float16": 2e-2}
# Of probabilities from what the artefact's own softmax was given. float16: one rounding; int8: a step of 1/256.
SOFTMAX_TOLERANCES = {"float32": 1e-5, "float16": 2e-3, "int8": 2e-2, "int4": 2e-2}
LEAST_DB = 3.0  # below, half of the outputs' power is noise: whatever went wrong, nobody means that
# What to do about a gate that an artefact in float does not pass.
OF_FLOAT = {"float16": "Export in float32, or allow more to be lost.", "float32": "Allow more to be lost."}
MOST_COMPARED = 64
CHUNK = 128  # images a run; the last of a gate may be fewer


@dataclasses.dataclass(frozen=True)
class Proof:
    """What the comparison gave.

    Attributes:
        max_abs_difference: float, of the outputs, over all images.
        sqnr_db: float, signal to quantization noise ratio of the first output, in decibels.
        agreement: float, share of the images with the same class; None for a model without classes.
        images: int; `of`: str, which ones; `real`: bool, whether they are no random ones.
        signature: dict, `{"inputs": {name: "dtype shape"}, "outputs": ...}`.
        runtime: text, with its version.
        gate: `quantization.GateResult`, or None.
    """

    max_abs_difference: float
    sqnr_db: float
    agreement: float | None
    images: int
    of: str
    real: bool
    signature: dict
    runtime: str
    gate: object = None


def prove(job, path, pictures=None, gate=None, gate_pictures=None):
    """Compare the artefact at a path with `job.original`.

    Args:
        job: `formats.job.Job` that was written.
        path: of the artefact.
        pictures: `Pictures` to compare on; None: random ones.
        gate: `quantization.Gate`, or None.
        gate_pictures: `Pictures` for the gate.

    Returns: `Proof`.
    Raises: RunError: if it cannot be opened or run, differs, is not what it says of itself, or does not pass the gate.
    """
    if job.spec is None:
        return _prove_numbers(job, path)
    compared = Pictures(_random_pixels(job), what=RANDOM) if pictures is None else pictures.first(MOST_COMPARED)
    judged = gate_pictures if gate is not None else None
    batches = [compared.pixels, compared.pixels[:1]]  # an open batch takes any number
    batches += [] if judged is None else [judged.pixels[i : i + CHUNK] for i in range(0, len(judged), CHUNK)]
    answer = _run(path, [{"inputs": {INPUT: pixels}} for pixels in batches])
    _check_facts(job, answer)
    names = list(answer["described"])
    expected = _expected(job, compared.pixels)
    outputs, alone = answer["outputs"][:2]
    for name in names:
        if name not in expected:
            raise RunError(f"the artefact has an output {name} that the model has not. Nothing was written.")
        _check_close(job, name, outputs[name], expected[name], alone[name])
    _check_probabilities(job, outputs)
    main = next(name for name in (LOGITS, PROBABILITIES, VALUES) if name in names)
    result = None
    if judged is not None:
        given = np.concatenate([part[main] for part in answer["outputs"][2:]])
        advice = {} if job.precision in INTEGER else {"advice": OF_FLOAT[job.precision]}
        result = gate.require(_expected(job, judged.pixels)[main], given, judged.labels, **advice)
    difference = max(float(np.max(np.abs(outputs[name] - expected[name]))) for name in names)
    noise = signal_to_noise_db(expected[main], outputs[main])
    same = _agreement(job.head, expected[main], outputs[main])
    signature = _signature(answer)
    shown = (len(compared), compared.what, pictures is not None)
    return Proof(difference, noise, same, *shown, signature, answer["runtime"], result)


def _prove_numbers(job, path):
    specs = input_specs(job.original)
    inputs, expected = random_case(job.original, specs, job.batch)
    answer = _run(path, [{"inputs": inputs}])
    _check_facts(job, answer)
    (outputs,) = answer["outputs"]
    if set(outputs) != set(expected):
        raise RunError(
            f"the artefact gives {', '.join(outputs)}, the model {', '.join(expected)}. Nothing was written."
        )
    for name, reference in expected.items():
        _check_close(job, name, outputs[name], reference)
    difference = max(float(np.max(np.abs(outputs[k] - v), initial=0.0)) for k, v in expected.items())
    noise = min(signal_to_noise_db(v, outputs[k]) for k, v in expected.items())
    count = len(next(iter(inputs.values())))
    return Proof(difference, noise, None, count, "random samples", False, _signature(answer), answer["runtime"])


def _run(path, cases):
    try:
        return run_in_clean_process(path, cases)
    except RunError as error:
        raise RunError(f"{error}. Nothing was written.") from None


def _random_pixels(job):
    batch = job.batch or fixed_batch(job.original) or 8
    return np.random.default_rng(0).integers(0, 256, (batch, *job.spec.image_shape), dtype=np.uint8)


def _expected(job, pixels):
    # On the CPU as the clean process: a GPU's own rounding (TF32) is no fault of the artefact.
    with keras.device("cpu:0"):
        run = batch_runner(job.original)
        images = fed(pixels, job.spec)
        given = np.concatenate([run(images[i : i + CHUNK]) for i in range(0, len(images), CHUNK)]).astype("float64")
    if not np.isfinite(given).all():
        raise RunError(
            "the model's outputs are not finite (NaN or infinite), though its weights are. Nothing was written."
        )
    if job.head.gives == VALUES:
        return {VALUES: given}
    probabilities = job.head.probabilities(given)
    return {PROBABILITIES: probabilities} | ({LOGITS: given} if job.head.gives == LOGITS else {})


def _check_close(job, name, output, reference, alone=None):
    if output.shape != reference.shape:
        raise RunError(
            f"the artefact's output {name} has shape {output.shape}, the model's {reference.shape}. Nothing was "
            "written."
        )
    if job.precision in INTEGER:
        noise = signal_to_noise_db(reference, output)
        if not noise >= LEAST_DB:
            raise RunError(
                f"the artefact's output {name} has little to do with the model's: signal to quantization noise ratio "
                f"{noise:.1f} dB (at least {LEAST_DB:g}). Give other `calibration` images or a higher `precision`. "
                "Nothing was written."
            )
        return
    scale = float(np.max(np.abs(reference), initial=0.0))
    tolerance = TOLERANCES[job.precision]
    difference = float(np.max(np.abs(output - reference), initial=0.0))
    if alone is not None:
        difference = max(difference, float(np.max(np.abs(alone - reference[:1]))))
    if name == PROBABILITIES and job.head.gives == LOGITS and job.precision != "float32":
        return  # a softmax of what was compared; `_check_probabilities` looks at it
    if not difference <= tolerance * scale + 1e-6:
        raise RunError(
            f"the artefact differs from the model: output {name}, max abs difference {difference:.3g} for outputs up "
            f"to {scale:.3g} (allowed {tolerance:g} of it). Nothing was written."
        )


def _check_probabilities(job, outputs):
    """Of the artefact's own logits."""
    if not {LOGITS, PROBABILITIES} <= set(outputs):
        return
    logits = outputs[LOGITS].astype("float64")
    if job.head.task == "labels":
        wanted = expit(logits)
    elif job.head.is_binary:
        second = expit(logits)
        wanted = np.concatenate([1.0 - second, second], axis=-1)
    else:
        wanted = softmax(logits, axis=-1)
    difference = float(np.max(np.abs(outputs[PROBABILITIES] - wanted)))
    squashed = "softmax" if job.head.task == "classes" else "sigmoid"
    if not difference <= SOFTMAX_TOLERANCES[job.precision]:
        raise RunError(
            f"the artefact's probabilities are not the {squashed} of its logits: difference {difference:.3g}. Nothing "
            "was written."
        )


def _check_facts(job, answer):
    """What the runtime reads of the file is what was to be written, and so are its inputs."""
    for name, value in job.facts().items():
        said = answer["metadata"].get(name)
        if said != value:
            raise RunError(f"the artefact says {name}={said!r} of itself, not {value!r}. Nothing was written.")
    batches = {shape[0] for _, shape in answer["inputs"].values() if shape}
    wanted = job.batch or fixed_batch(job.original)
    if batches - {wanted}:
        raise RunError(f"the artefact takes a batch of {batches}, not of {wanted}. Nothing was written.")
    if job.spec is None:
        return
    if set(answer["inputs"]) != {INPUT}:
        raise RunError(f"the artefact takes {', '.join(answer['inputs'])}, not {INPUT}. Nothing was written.")
    missing = set(output_names(job.head)[:1]) - set(answer["described"])
    if missing:
        raise RunError(f"the artefact has no output {', '.join(missing)}. Nothing was written.")


def _agreement(head, expected, outputs):
    """Share of the images with the same answer: class, or all labels; None of values."""
    if head.gives == VALUES:
        return None
    same = head.answers(expected) == head.answers(outputs)
    return float(np.mean(same.all(-1) if same.ndim > 1 else same))


def describe_sides(inputs, outputs):
    """`{"inputs": {name: "dtype shape"}, "outputs": ...}` of what a `Runner` says."""

    def describe(side):
        return {
            name: f"{dtype} ({', '.join('None' if n is None else str(n) for n in shape)})"
            for name, (dtype, shape) in side.items()
        }

    return {"inputs": describe(inputs), "outputs": describe(outputs)}


def _signature(answer):
    return describe_sides(answer["inputs"], answer["described"])
