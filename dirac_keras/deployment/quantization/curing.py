"""`quantize`: the cures tried one after another, measured on images that none of them has seen, the better kept."""

from dirac_keras.deployment.quantization.calibration import as_calibration_set
from dirac_keras.deployment.quantization.keeping import BUDGETS
from dirac_keras.deployment.quantization.memory import Memory, NoMemory
from dirac_keras.deployment.quantization.network import copy_of, refuse_nonfinite
from dirac_keras.deployment.quantization.trials import Task
from dirac_keras.errors import UserError, check_choice

ROUNDINGS = ("bias", "data", "follow")
TRANSFORMS = ("equalize_weights", "equalize_activations", "identity_apart")
CURES = (*ROUNDINGS, *TRANSFORMS)
AUTO = (*ROUNDINGS, "equalize_weights", "equalize_activations")  # they leave the graph as it is


def quantize(
    model,
    images,
    bits=8,
    cures="auto",
    max_kept=0.0,
    kept_of="parameters",
    activation_bits=8,
    float_outputs=False,
    identity_in_float=False,
    seed=0,
    labels=None,
    finetuning=None,
    progress=None,
    memory=None,
):
    """A copy of a folded network whose kernels are on the grid of a runtime's integers, as good as the cures make it.

    Each cure is tried, measured by the signal to quantization noise ratio (SQNR) of the logits on a quarter of the
    images that no weight was fitted to, and kept if it gains:

    | cure | what it does | graph |
    |---|---|---|
    | `bias` | weights to the nearest integer; the mean error of each channel goes into its bias | same |
    | `data` | the rounding errors of a filter's weights make good one another on the images | same |
    | `follow` | `data`, and each layer makes good what the layers below changed | same |
    | `equalize_weights` | channels scaled between layers, so that their weights are alike | same |
    | `equalize_activations` | channels scaled between layers, so that their activations are alike | same |
    | `identity_apart` | identity taps in a depthwise branch of their own | an addition a layer |

    The first three are ways to round, of which one is chosen; the others are tried with the best of these. Then come
    layers in float (`max_kept`), and last a short training of the rounded network (`finetuning`), which is kept if it
    gains too.

    Args:
        model: folded Functional or Sequential `keras.Model` of one input. It is not changed.
        images: array `(samples, ...)`, scaled as the model takes them, or a `CalibrationSet`.
        bits: 8 or 4, of a weight; the largest integer is `2^(bits - 1) - 1`, 127 or 7.
        cures: `"auto"`: all that leave the graph as it is; or a tuple of names, which may be empty.
        max_kept: number from 0 to 1: the share that layers left in float may have.
        kept_of: `"parameters"` or `"macs"`, what `max_kept` is a share of.
        activation_bits: 8, 16, or None where activations stay in float.
        float_outputs: whether the logits stay in float, as ONNX Runtime and OpenVINO leave them; full integer LiteRT
            does not.
        identity_in_float: whether identity taps that stand out of their filters may be any number: for files whose
            kernels are restored as they are loaded, such as int4 in ONNX and OpenVINO.
        seed: int: of the held-out images, and of the positions that are read of large ones.
        labels: class numbers, one an image, for the accuracy.
        finetuning: dict, arguments of `finetune`: `epochs`, `dataset` (None or left out: `images`), ...; or None.
        progress: function of a text, called before each trial.
        memory: `Memory`, for several calls with one network and the same images; None: nothing is remembered.

    Returns: `(model, QuantizationReport)`: the model in float32, kernels on the per-channel grid but those of
        `report.kept`, biases as they are to be.
    Raises: ValueError: if an argument does not fit or a weight is not finite.
    """
    cures = _check(bits, cures, max_kept, kept_of, activation_bits)
    _check_finetuning(finetuning)
    if memory is not None and not isinstance(memory, Memory):
        raise UserError(f"memory must be a `quantization.Memory`, or None. Received memory={memory!r}.")
    refuse_nonfinite(model)
    calibration = as_calibration_set(images, model, seed, labels)
    options = {"identity_in_float": identity_in_float, "seed": seed}
    given = model, calibration, bits, activation_bits, float_outputs
    asked = cures, max_kept, kept_of, finetuning

    def make():
        return _chosen(Task(*given, **options, progress=progress, memory=memory or NoMemory()), *asked)

    if memory is None:
        return make()
    memory.about(model, calibration)
    if finetuning is not None:  # on images of its own
        return make()
    made, report = memory.once((*given[2:], *options.values(), *asked), make)
    return copy_of(made), report  # what is remembered stays as it is, whatever is done with the model


def _chosen(task, cures, max_kept, kept_of, finetuning):
    """`(model, QuantizationReport)` of the cures tried one after another."""
    best = task.attempt(task.base, ("nearest",))
    for rounding in (cure for cure in cures if cure in ROUNDINGS):
        best = task.better(best, task.attempt(task.base, (rounding,)))
    rounding = best.trial.cures[-1]
    for transform in (cure for cure in cures if cure in TRANSFORMS):
        source = task.transformed(best.source, transform)
        if source is None:
            continue
        names = (*(cure for cure in best.trial.cures if cure in TRANSFORMS), transform)
        best = task.better(best, task.attempt(source, (*names, rounding)))
    steps = ()
    if max_kept:
        best, steps = task.keep(best, max_kept, kept_of)
    if finetuning is not None:
        best = task.better(best, task.finetuned(best, finetuning))
    return best.copy.model, task.report(best, steps, max_kept, kept_of)


def _check_finetuning(options):
    if options is None:
        return
    own = {"bits", "activation_bits", "kept", "start", "model", "free"} & set(options)
    if own:
        raise UserError(
            f"finetuning takes the arguments of `finetune` but for those that are known here. Received {sorted(own)}."
        )


def _check(bits, cures, max_kept, kept_of, activation_bits):
    if isinstance(bits, bool) or bits not in (8, 4):
        raise UserError(f"bits must be 8 or 4, which the runtimes have. Received bits={bits!r}.")
    if isinstance(activation_bits, bool) or activation_bits not in (8, 16, None):
        raise UserError(f"activation_bits must be 8, 16 or None. Received activation_bits={activation_bits!r}.")
    names = AUTO if isinstance(cures, str) and cures == "auto" else cures
    if isinstance(names, str) or not all(name in CURES for name in names):
        raise UserError(f'cures must be "auto" or a tuple of names among {", ".join(CURES)}. Received cures={cures!r}.')
    if isinstance(max_kept, bool) or not isinstance(max_kept, (int, float)) or not 0 <= max_kept <= 1:
        raise UserError(f"max_kept must be a share from 0 to 1. Received max_kept={max_kept!r}.")
    check_choice("kept_of", kept_of, BUDGETS)
    return tuple(dict.fromkeys(names))
