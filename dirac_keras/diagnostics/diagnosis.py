"""Everything that is measured of a network, in one pass over the data."""

import dataclasses
import math
import time
from dataclasses import dataclass

import keras
import numpy as np
import threadpoolctl

from dirac_keras.brief import brief
from dirac_keras.constraints import MaxNorm
from dirac_keras.diagnostics.activations import ActivationMoments, ActivationStatistics
from dirac_keras.diagnostics.answers import AnswerCounts, Answers
from dirac_keras.diagnostics.data import BATCH_SIZE, batches
from dirac_keras.diagnostics.gradients import GradientStatistics, check_labels, crossentropy, measure_gradients
from dirac_keras.diagnostics.scales import SCALE_THRESHOLD, ScaleStatistics, measure_scales
from dirac_keras.diagnostics.spectrum import MAX_UNITS, Spectrum, StreamedSpectrum
from dirac_keras.diagnostics.start import first_images, take_statistics
from dirac_keras.diagnostics.taps import Network, to_numpy, unchanged
from dirac_keras.diagnostics.weights import NotMeasurable, WeightStatistics, measure_weights
from dirac_keras.errors import UserError
from dirac_keras.graph.drawing import Reservoir
from dirac_keras.graph.softmax import ends_in_softmax

QUANTITIES = ("activations", "spectrum", "weights", "gradients", "scales")


@brief
@dataclass(frozen=True)
class LayerRecord:
    """What was measured of one call of one layer; None is what was not, `Diagnosis.not_measured` says why.

    A layer that is called twice has two records, with the same weights, scales and kernel gradient in both.
    """

    name: str
    kind: str  # class of the layer with the kernel
    normalization: str  # class of the normalization that follows directly; "" if none does
    max_norm: float | None  # bound on the norm of each unit's weight vector, by constraint
    layers: tuple  # paths from the layer with the kernel to where the response is
    activation: str
    units: int
    is_output: bool
    activations: ActivationStatistics | None = None
    spectrum: Spectrum | None = None
    weights: WeightStatistics | None = None
    gradients: GradientStatistics | None = None
    scales: ScaleStatistics | None = None


@dataclass(frozen=True)
class Unmeasured:
    """A quantity of a layer that could not be measured; `layer` is "" for the whole model."""

    layer: str
    what: str
    why: str


@brief
@dataclass(frozen=True)
class Diagnosis:
    """The state of a network, layer by layer in the order of computation.

    Attributes:
        model: its name.
        at_start: bool, whether it was measured as untrained, on its first images and with their statistics.
        has_normalization: bool, whether any layer normalizes.
        layers: tuple of `LayerRecord`.
        samples: int, images measured.
        peak_rows: int, the most responses of one layer (images times positions) that were held at a time.
        first_non_finite: name of the first layer with a NaN or infinite response, `"inputs"` if the images have
            one; None if all is finite.
        not_measured: tuple of `Unmeasured`.
        seconds: float, the measurement took.
        answers: `Answers`: how many images it names right; None at the start, without activations and spectrum, and of
            data without class numbers.
    """

    model: str
    at_start: bool
    has_normalization: bool
    layers: tuple
    samples: int
    peak_rows: int
    first_non_finite: str | None
    not_measured: tuple
    seconds: float
    answers: Answers | None = None

    def to_dict(self):
        """JSON-safe dict; infinity and NaN become `"inf"`, `"-inf"`, `"nan"`, which `float` reads."""
        return _json_safe(self)


# Thousands of decompositions of some hundred rows: a second thread waits more than it works, and takes the processor
# from the backend while it waits.
@threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
def measure(
    model,
    data=None,
    quantities=QUANTITIES,
    at_start=False,
    thresholds=(0.05,),
    batch_size=BATCH_SIZE,
    max_units=MAX_UNITS,
    positions_per_sample=64,
    gradient_samples=64,
    loss=None,
    initial_weights=None,
    scale_threshold=SCALE_THRESHOLD,
    seed=0,
    progress=None,
):
    """Measures a network on data, layer by layer, as it is at inference (moving statistics, no dropout).

    A network that was never trained is another matter, `at_start`: it is measured as its first step of training sees
    it, on the first 512 images (fewer of large networks), with the statistics of these in each BatchNormalization.

    Activations and spectrum are read in one pass, during which a random part of the images is drawn for the
    gradients. Memory does not grow with the number of images: a layer of `n` units holds a float64 triangle of
    `n` by `n` and at most `2 n` rows.

    Args:
        model: Functional or built Sequential `keras.Model`. Nothing in it is changed.
        data: iterable of batches `(images, labels)`, or arrays `(images, labels)`, or images alone, which gives no
            gradients; see `data.batches`. None if only weights and scales are asked for. Labels are class numbers.
        quantities: names among `activations`, `spectrum`, `weights`, `gradients`, `scales`.
        at_start: bool. The images should come in a random order.
        thresholds: numbers of 0 or more, of the absolute response.
        batch_size: int, of arrays.
        max_units: int; the spectrum of a larger layer is that of a random part of its units.
        positions_per_sample: int; the spectrum of a convolution with more positions uses a random part of them.
        gradient_samples: int of 2 or more.
        loss: function of labels and outputs to one loss a sample, `(batch,)`; None is cross-entropy, from
            probabilities if the model ends in a softmax, else from logits.
        initial_weights: list of arrays, `model.get_weights()` before training; None measures no distance.
        scale_threshold: number, below which a scale of a Dirac layer counts as 0.
        seed: int, of every random part.
        progress: function of the number of images done so far.

    Returns: `Diagnosis`.
    Raises: ValueError: if the model is not built, has no graph of layers or no weights; the data are empty, endless, of
        one sample or of another shape than the model's input; labels are out of range; an argument is wrong.
    Source: Oyedotun et al., "Revisiting the Training of Very Deep Neural Networks without Skip Connections", Fig. 2 to
        5 and A1, section V.B; the classes of the records say which is which.
    """
    start = time.perf_counter()
    quantities = _check_arguments(
        quantities, thresholds, max_units, positions_per_sample, gradient_samples, scale_threshold, loss
    )
    network = Network(model)
    missing = [Unmeasured(layer, "responses", why) for layer, why in network.unmeasured]
    initial = _initial_kernels(network, initial_weights)
    measured = {tap.name: {} for tap in network.taps}
    samples = peak_rows = 0
    first_non_finite = answers = None
    if {"activations", "spectrum", "gradients"} & set(quantities):
        collection = _Collection(network, quantities, thresholds, max_units, positions_per_sample, seed)
        counts = AnswerCounts() if _names_classes(model) and not at_start else None
        drawn = Reservoir(gradient_samples, seed)
        labelled = _labels_check(model, loss) if "gradients" in quantities else None
        with unchanged(network):
            stream = batches(model, data, batch_size)
            if at_start:
                stream = _start(network, stream, batch_size)
            for inputs, labels in stream:
                samples += len(inputs[0])
                if labels is not None and labelled is not None:
                    drawn.offer(*inputs, labelled(labels))
                outputs = collection.update(inputs)
                if counts is not None and outputs is not None:
                    counts.update(to_numpy(outputs[0]), labels)
                if progress is not None:
                    progress(samples)
            if samples < 2:
                raise UserError(f"data must hold at least 2 images, to be compared. Received {samples}.")
            if "gradients" in quantities:
                missing += _add_gradients(network, drawn, loss, seed, measured)
        missing += collection.results(measured)
        peak_rows, first_non_finite = collection.peak_rows(), collection.first_non_finite
        answers = counts.result() if counts is not None else None
    if "weights" in quantities:
        missing += _add_weights(network, initial, measured)
    if "scales" in quantities:
        for tap in network.taps:
            measured[tap.name]["scales"] = measure_scales(tap.layer, scale_threshold)
    return Diagnosis(
        model=model.name,
        at_start=at_start,
        has_normalization=network.normalizes(),
        layers=tuple(_record(tap, measured[tap.name]) for tap in network.taps),
        samples=samples,
        peak_rows=peak_rows,
        first_non_finite=first_non_finite,
        not_measured=tuple(missing),
        seconds=time.perf_counter() - start,
        answers=answers,
    )


def _start(network, stream, batch_size):
    """The first images, once their statistics are taken; a generator, so that it runs where `unchanged` protects."""
    inputs, labels = first_images(network, stream)
    take_statistics(network, inputs)
    for start in range(0, len(inputs[0]), batch_size):
        chosen = slice(start, start + batch_size)
        yield [value[chosen] for value in inputs], None if labels is None else labels[chosen]


def _check_arguments(quantities, thresholds, max_units, positions_per_sample, gradient_samples, scale_threshold, loss):
    quantities = (quantities,) if isinstance(quantities, str) else tuple(quantities)
    unknown = [name for name in quantities if name not in QUANTITIES]
    if unknown or not quantities:
        raise UserError(f"quantities must be among {', '.join(QUANTITIES)}. Received {unknown or quantities!r}.")
    least = {"max_units": (max_units, 1), "positions_per_sample": (positions_per_sample, 1)}
    for name, (value, minimum) in {**least, "gradient_samples": (gradient_samples, 2)}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise UserError(f"{name} must be a whole number of {minimum} or more. Received {name}={value!r}.")
    if not isinstance(thresholds, (tuple, list)):
        raise UserError(f"thresholds must be a tuple of numbers. Received thresholds={thresholds!r}.")
    for name, value in [*(("thresholds", t) for t in thresholds), ("scale_threshold", scale_threshold)]:
        if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise UserError(f"{name} must be finite and 0 or more. Received {name}={value!r}.")
    if loss is not None and not callable(loss):
        raise UserError(
            "loss must be a function of labels and outputs to one loss a sample, such as "
            f"keras.losses.MeanSquaredError(reduction=None), or None. Received loss={loss!r}."
        )
    return quantities


class _Collection:
    """Activations and spectra of all layers while the data go by."""

    def __init__(self, network, quantities, thresholds, max_units, positions_per_sample, seed):
        self._network = network
        self._moments, self._spectra, self._broken = {}, {}, {}
        for tap in network.taps:
            if "activations" in quantities:
                self._moments[tap.name] = ActivationMoments(tap.activation, tuple(thresholds), tap.is_output)
            if "spectrum" in quantities:
                self._spectra[tap.name] = StreamedSpectrum(tap.units, positions_per_sample, max_units, seed)
        self._is_needed = bool(self._moments or self._spectra)
        self._input_is_broken = False

    def update(self, inputs):
        """Takes a batch; returns the network's outputs, None if nothing needs it to run."""
        if any(value.dtype.kind == "f" and not np.all(np.isfinite(value)) for value in inputs):
            self._input_is_broken = True
        return self._network.run(inputs, self._visit) if self._is_needed else None

    def _visit(self, tap, response):
        values = tap.matrix(response)
        with np.errstate(invalid="ignore"):  # one sum tells, and is faster than a look at each
            is_finite = math.isfinite(values.sum(dtype="float64"))
        wrong = 0 if is_finite else np.count_nonzero(~np.isfinite(values))
        if wrong:
            self._broken[tap.name] = self._broken.get(tap.name, 0) + int(wrong)
        if tap.name in self._broken:
            return
        if tap.name in self._moments:
            self._moments[tap.name].update(values.reshape(-1, values.shape[-1]))
        if tap.name in self._spectra:
            spectrum = self._spectra[tap.name]
            spectrum.epsilon = _epsilon(response)
            spectrum.update(values)

    @property
    def first_non_finite(self):
        if self._input_is_broken:
            return "inputs"
        return next((tap.name for tap in self._network.taps if tap.name in self._broken), None)

    def peak_rows(self):
        return max((spectrum.peak_rows for spectrum in self._spectra.values()), default=0)

    def results(self, measured):
        """Adds the statistics of each layer to `measured`; returns what is missing."""
        missing = []
        kept = [tap for tap in self._network.taps if tap.name not in self._broken]
        means = [self._moments[tap.name].mean for tap in kept if tap.name in self._moments and not tap.is_output]
        largest_mean = max((float(np.abs(mean).max()) for mean in means), default=None)
        if self._broken and means:
            why = "means are divided by the largest of all layers, and some layers are not finite"
            missing.append(Unmeasured("", "normalized_mean", why))
            largest_mean = None
        for tap in self._network.taps:
            if tap.name in self._broken:
                why = f"{self._broken[tap.name]:,} or more responses are NaN or infinite"
                for what, found in (("activations", self._moments), ("spectrum", self._spectra)):
                    missing += [Unmeasured(tap.name, what, why)] if found else []
                continue
            if tap.name in self._moments:
                measured[tap.name]["activations"] = self._moments[tap.name].result(largest_mean)
            if tap.name in self._spectra:
                spectrum = self._spectra[tap.name].result()
                measured[tap.name]["spectrum"] = spectrum
                if spectrum.condition_number is None:
                    why = f"{spectrum.samples} samples of {spectrum.units} units: they are dependent in any case"
                    missing.append(Unmeasured(tap.name, "condition_number", why))
        return missing


def _epsilon(response):
    """Of the precision in which a response was computed."""
    return {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float64": 2.0**-52}.get(
        keras.backend.standardize_dtype(response.dtype), 2.0**-23
    )


def _labels_check(model, loss):
    """A function that checks labels for the loss; None if the default loss does not fit the model."""
    if loss is not None:
        return lambda labels: labels
    return (lambda labels: check_labels(labels, model.outputs[0].shape[1])) if _names_classes(model) else None


def _names_classes(model):
    """Whether the model has one output `(batch, classes)`, of two classes or more."""
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    return len(shapes) == 1 and len(shapes[0]) == 2 and (shapes[0][1] or 0) > 1


def _add_gradients(network, drawn, loss, seed, measured):
    arrays = drawn.arrays()
    model = network.model
    why = None
    if _labels_check(model, loss) is None:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in model.outputs)
        why = f"cross-entropy takes one output (batch, classes), the model gives {shapes}; give loss="
    elif not arrays:
        why = "the data have no labels"
    elif keras.backend.backend() not in ("tensorflow", "jax"):
        why = f"the {keras.backend.backend()} backend has no gradients here"
    if why:
        return [Unmeasured("", "gradients", why)]
    *inputs, labels = arrays
    if loss is None:
        loss = crossentropy(from_probabilities=ends_in_softmax(model))
    found, failed = measure_gradients(network, inputs, labels, loss, seed)
    for name, statistics in found.items():
        measured[name]["gradients"] = statistics
    idle = "fewer than two samples have a gradient that is not 0"
    return [
        *(Unmeasured(name, "gradients", why) for name, why in failed),
        *(Unmeasured(name, "cosine", idle) for name, statistics in found.items() if statistics.cosine is None),
    ]


def _initial_kernels(network, initial_weights):
    """id(layer) -> kernel at the start."""
    if initial_weights is None:
        return {}
    weights = network.model.weights
    shapes = [tuple(weight.shape) for weight in weights], [np.shape(value) for value in initial_weights]
    if shapes[0] != shapes[1]:
        raise UserError(
            "initial_weights must be the list that model.get_weights() gave before training. "
            f"Received {len(shapes[1])} arrays for {len(shapes[0])} weights, or other shapes."
        )
    by_variable = {id(weight): value for weight, value in zip(weights, initial_weights, strict=True)}
    kernels = {id(layer): by_variable.get(id(getattr(layer, "kernel", None))) for _, layer in network.kernel_layers()}
    return kernels


def _add_weights(network, initial, measured):
    missing, done = [], {}
    for path, layer in network.kernel_layers():
        try:
            start = initial.get(id(layer))
            done[id(layer)], reasons = measure_weights(layer, start)
            if initial and start is None:
                missing.append(Unmeasured(path, "distance", f"{type(layer).__name__} has more than one kernel"))
            missing += [Unmeasured(path, what, why) for what, why in reasons]
        except NotMeasurable as reason:
            missing.append(Unmeasured(path, "weights", str(reason)))
    for tap in network.taps:
        measured[tap.name]["weights"] = done.get(id(tap.layer))
    return missing


def _record(tap, measured):
    return LayerRecord(
        name=tap.name,
        kind=type(tap.layer).__name__,
        normalization=tap.normalization,
        max_norm=_max_norm(tap.layer),
        layers=tap.layers,
        activation=tap.activation.name,
        units=tap.units,
        is_output=tap.is_output,
        **measured,
    )


def _max_norm(layer):
    constraint = getattr(layer, "kernel_constraint", None)
    return float(constraint.max_value) if isinstance(constraint, (MaxNorm, keras.constraints.MaxNorm)) else None


def _json_safe(value):
    if dataclasses.is_dataclass(value):
        shown = [f.name for f in dataclasses.fields(value) if f.metadata.get("in_dict", True)]
        return {name: _json_safe(getattr(value, name)) for name in shown}
    if isinstance(value, dict):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
