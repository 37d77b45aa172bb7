"""`quantize`: the cures tried one after another, measured on images that none of them has seen, the better kept."""

import time

import numpy as np

from dirac_keras.deployment.quantization.calibration import as_calibration_set
from dirac_keras.deployment.quantization.equalization import equalizable_pairs, equalize
from dirac_keras.deployment.quantization.fake import TensorRule
from dirac_keras.deployment.quantization.grids import signal_to_noise_db
from dirac_keras.deployment.quantization.identity_apart import identity_masks, split_identity
from dirac_keras.deployment.quantization.keeping import BUDGETS, choose_kept, shares
from dirac_keras.deployment.quantization.network import Network, copy_of, refuse_nonfinite
from dirac_keras.deployment.quantization.ordering import relu_before_pool
from dirac_keras.deployment.quantization.report import QuantizationReport, Trial
from dirac_keras.deployment.quantization.rounding import METHODS, round_network, rounded_layers
from dirac_keras.deployment.quantization.running import most_images, run
from dirac_keras.deployment.quantization.simulation import Simulation
from dirac_keras.deployment.quantization.training import finetune
from dirac_keras.errors import UserError

ROUNDINGS = ("bias", "data", "follow")
TRANSFORMS = ("equalize_weights", "equalize_activations", "identity_apart")
CURES = (*ROUNDINGS, *TRANSFORMS)
AUTO = (*ROUNDINGS, "equalize_weights", "equalize_activations")  # they leave the graph as it is
STRENGTHS = (0.5, 0.75, 1.0)  # of `equalize_activations`: 1 gives all channels one range, if the images tell it well
STRENGTH_IMAGES = 128  # at most, on which the strengths are compared
LEAST_GAIN = 0.1  # decibels, for which a cure more is taken
ALONE_IMAGES = 64  # on which each layer and each tensor is rounded alone: one run of the network for each


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
        bits: int from 2 to 8, of a weight; the largest integer is `2^(bits - 1) - 1`.
        cures: `"auto"`: all that leave the graph as it is; or a tuple of names, which may be empty.
        max_kept: number from 0 to 1: the share that layers left in float may have.
        kept_of: `"parameters"` or `"macs"`, what `max_kept` is a share of.
        activation_bits: int, or None where activations stay in float.
        float_outputs: whether the logits stay in float, as ONNX Runtime and OpenVINO leave them; full integer LiteRT
            does not.
        identity_in_float: whether identity taps that stand out of their filters may be any number: for files whose
            kernels are restored as they are loaded, such as int4 in ONNX and OpenVINO.
        seed: int: of the held-out images, and of the positions that are read of large ones.
        labels: class numbers, one an image, for the accuracy.
        finetuning: dict, arguments of `finetune`: `epochs`, `dataset` (None or left out: `images`), ...; or None.
        progress: function of a text, called before each trial.

    Returns: `(model, QuantizationReport)`: the model in float32, kernels on the per-channel grid but those of
        `report.kept`, biases as they are to be.
    Raises: ValueError: if an argument does not fit or a weight is not finite.
    """
    cures = _check(bits, cures, max_kept, kept_of, activation_bits)
    _check_finetuning(finetuning, bits, activation_bits)
    refuse_nonfinite(model)
    calibration = as_calibration_set(images, model, seed, labels)
    options = {"identity_in_float": identity_in_float, "seed": seed, "progress": progress or (lambda text: None)}
    task = _Task(model, calibration, bits, activation_bits, float_outputs, **options)
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


class _Result:
    """A network that was rounded: `trial`, the float one `source` that it was made of, `copy`, the layers rounded."""

    def __init__(self, trial, source, copy, layers):
        self.trial, self.source, self.copy, self.layers = trial, source, copy, layers


class _Task:
    """One network to quantize, its images, and what was tried."""

    def __init__(self, model, calibration, bits, activation_bits, float_outputs, identity_in_float, seed, progress):
        self.bits, self.activation_bits, self.float_outputs = bits, activation_bits, float_outputs
        self.seed, self.progress = seed, progress
        self.shape = calibration.images.shape[1:]
        self.notes = list(calibration.notes)
        ordered, moved = relu_before_pool(model)
        self.base = self._network(ordered)
        if moved:
            self.notes.append(f"ReLU before the pooling that stood before it, {len(moved)} times: the same numbers")
        self.free = identity_masks(self.base) if identity_in_float else {}
        if not self.base.layers:
            raise UserError(f"model has no convolution or dense layer to quantize. Received '{model.name}'.")
        fit, self.held_out = calibration.split()
        self.images = fit.images[: most_images(self.base)]
        if len(self.images) < len(fit):
            self.notes.append(f"fitted to {len(self.images)} of {len(fit)} images: the tensors of more fill the memory")
        self.reference = run(self.base, self.held_out.images)
        self.trials = []
        if any("BatchNormalization" in reason for reason in self.base.left.values()):
            self.notes.append("layers of BatchNormalization are left: fold the model first")
        if self.base.graph.closed:
            self.notes.append("nested models that are called on another structure of inputs stay in float")

    def attempt(self, source, cures, kept=()):
        """`_Result` of rounding a network as its cures say."""
        self.progress(", ".join(cures) + (f", {len(kept)} layers kept" if kept else ""))
        start = time.perf_counter()
        copy = self._network(copy_of(source.model))
        layers = round_network(source, copy, self.images, self.bits, cures[-1], kept, seed=self.seed, free=self.free)
        trial = self._measured(copy, cures, kept, time.perf_counter() - start)
        return _Result(trial, source, copy, layers)

    def better(self, best, other):
        """The other if it gains enough."""
        return other if other.trial.db >= best.trial.db + LEAST_GAIN else best

    def transformed(self, source, transform):
        """`Network` of the same function, or None where there is nothing to do."""
        if transform == "identity_apart":
            if self.free:
                self.notes.append("identity_apart: the identity taps are in float, which needs no branches")
                return None
            try:
                return self._network(split_identity(source.model)[0])
            except UserError:
                self.notes.append("identity_apart: no convolution has an identity tap that stands out")
                return None
        if not equalizable_pairs(source):
            self.notes.append(f"{transform}: no two layers between which channels can be scaled")
            return None
        if transform == "equalize_weights":
            return self._network(equalize(source.model)[0])
        return self._network(equalize(source.model, self.images, "activations", self._strength(source))[0])

    def _strength(self, source):
        """Of `equalize_activations`, by rounded activations alone, on a third of the images kept from the ranges."""
        if not self.activation_bits:
            return STRENGTHS[0]
        count = min(STRENGTH_IMAGES, max(1, len(self.images) // 3))
        ranged, others = self.images[:-count], self.images[-count:]
        reference, found = run(source, others), {}
        for strength in STRENGTHS:
            network = self._network(equalize(source.model, ranged, "activations", strength)[0])
            found[strength] = self._simulation(network, ranged).db(reference, others)
        return max(found, key=found.get)

    def keep(self, best, max_kept, kept_of):
        """`(result, steps)` with layers in float within the budget.

        Each layer's weights and each tensor are rounded alone once; the noise powers of those that remain rounded are
        taken to add up, as they do where each is small. So a set of layers is judged without running the network, and
        only the best one is made. The weights are those of `"data"` where `"follow"` is best: there a layer makes good
        the very errors of those below, so that alone it would be wrong.
        """
        self.progress("layers to keep")
        steps = choose_kept(shares(best.copy, kept_of, self.shape), max_kept, self._noise(best))
        if not steps:
            return best, ()
        other = self.attempt(best.source, best.trial.cures, tuple(path for step in steps for path in step.paths))
        return (other, steps) if other.trial.db > best.trial.db else (best, ())

    def _noise(self, best):
        """Function of a set of paths to the power of the outputs' noise with these in float, as it is expected."""
        method = best.trial.cures[-1].replace("follow", "data")
        copy, unrounded = self._network(copy_of(best.source.model)), {}
        options = {"seed": self.seed, "unrounded": unrounded, "free": self.free}
        round_network(best.source, copy, self.images, self.bits, method, **options)
        rounded = {path: layer.get_weights() for path, layer in copy.layers.items()}
        for path, layer in copy.layers.items():
            layer.set_weights(unrounded[path])
        images = self.held_out.images[:ALONE_IMAGES]
        reference, weights, tensors = run(copy, images).astype("float64"), {}, {}
        for path, layer in copy.layers.items():
            layer.set_weights(rounded[path])
            weights[path] = float(np.sum((run(copy, images) - reference) ** 2))
            layer.set_weights(unrounded[path])
        rule = TensorRule(copy, self.float_outputs)
        if self.activation_bits:
            simulation = self._simulation(copy, self.images)
            for tensor in rule.tensors():
                tensors[tensor] = float(np.sum((simulation.outputs(images, only=tensor) - reference) ** 2))

        def noise(kept):
            still = rule.tensors(kept) if tensors else ()
            return sum(weights[path] for path in weights if path not in kept) + sum(tensors[t] for t in still)

        return noise

    def finetuned(self, best, options):
        """`_Result` of training the network on, from where the best one starts."""
        self.progress("fine-tuning")
        start = time.perf_counter()
        options = {"dataset": None, "seed": self.seed, **options}
        data = options.pop("dataset")
        given = {"bits": self.bits, "activation_bits": self.activation_bits, "kept": best.trial.kept, "free": self.free}
        begin = next(cure for cure in best.trial.cures if cure in METHODS)
        model, _ = finetune(
            best.source.model, self.images if data is None else data, start=begin, **{**given, **options}
        )
        copy = self._network(model)
        trial = self._measured(copy, (*best.trial.cures, "finetune"), best.trial.kept, time.perf_counter() - start)
        return _Result(trial, best.source, copy, rounded_layers(best.source, copy, best.trial.kept))

    def report(self, best, steps, max_kept, kept_of):
        base = self._simulation(self.base, self.images)
        final = self._simulation(best.copy, self.images)
        costs = shares(best.copy, kept_of, self.shape)
        labels = self.held_out.labels
        return QuantizationReport(
            bits=self.bits,
            activation_bits=self.activation_bits,
            float_outputs=self.float_outputs,
            images=len(self.images),
            held_out=len(self.held_out),
            seed=self.seed,
            trials=tuple(self.trials),
            chosen=best.trial,
            activations_db=base.db(self.reference, self.held_out.images) if self.activation_bits else None,
            accuracy_before=None if labels is None else _accuracy(self.reference, labels),
            kept=best.trial.kept,
            kept_steps=steps,
            identity_in_float=tuple(path for path in self.free if path not in best.trial.kept),
            kept_share=float(sum(costs[path] for path in best.trial.kept)),
            max_kept=float(max_kept),
            kept_of=kept_of,
            layers=best.layers,
            left=dict(best.copy.left),
            ranges=final.ranges.by_path(),
            notes=tuple(self.notes),
        )

    def _network(self, model):
        return Network(model, self.shape)

    def _simulation(self, network, images):
        return Simulation(network, images, self.activation_bits, self.float_outputs)

    def _measured(self, copy, cures, kept, seconds):
        images, labels = self.held_out.images, self.held_out.labels
        weights = run(copy, images)
        outputs = weights
        if self.activation_bits:
            outputs = self._simulation(copy, self.images).outputs(images, kept)
        trial = Trial(
            cures=tuple(cures),
            db=signal_to_noise_db(self.reference, outputs),
            weights_db=signal_to_noise_db(self.reference, weights),
            agreement=float(np.mean(_classes(outputs) == _classes(self.reference))),
            accuracy=None if labels is None else _accuracy(outputs, labels),
            kept=tuple(kept),
            seconds=seconds,
        )
        self.trials.append(trial)
        return trial


def _classes(logits):
    return (logits[:, 0] > 0).astype(int) if logits.shape[-1] == 1 else logits.argmax(axis=-1)


def _accuracy(logits, labels):
    return float(np.mean(_classes(logits) == labels))


def _check_finetuning(options, bits, activation_bits):
    if options is None:
        return
    own = {"bits", "activation_bits", "kept", "start", "model", "free"} & set(options)
    if own:
        raise UserError(
            f"finetuning takes the arguments of `finetune` but for those that are known here. Received {sorted(own)}."
        )
    if bits not in (8, 4) or activation_bits not in (8, 16, None):
        raise UserError(
            "finetuning is for `bits` of 8 or 4 and `activation_bits` of 8, 16 or None. "
            f"Received bits={bits}, activation_bits={activation_bits}."
        )


def _check(bits, cures, max_kept, kept_of, activation_bits):
    for name, value in (("bits", bits), ("activation_bits", activation_bits)):
        is_number = isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= 16
        if not is_number and not (name == "activation_bits" and value is None):
            raise UserError(f"{name} must be a whole number from 2 to 8. Received {name}={value!r}.")
    if bits > 8:
        raise UserError(f"bits must be a whole number from 2 to 8. Received bits={bits}.")
    names = AUTO if isinstance(cures, str) and cures == "auto" else cures
    if isinstance(names, str) or not all(name in CURES for name in names):
        raise UserError(f'cures must be "auto" or a tuple of names among {", ".join(CURES)}. Received cures={cures!r}.')
    if isinstance(max_kept, bool) or not isinstance(max_kept, (int, float)) or not 0 <= max_kept <= 1:
        raise UserError(f"max_kept must be a share from 0 to 1. Received max_kept={max_kept!r}.")
    if kept_of not in BUDGETS:
        raise UserError(f"kept_of must be one of {', '.join(BUDGETS)}. Received kept_of={kept_of!r}.")
    return tuple(dict.fromkeys(names))
