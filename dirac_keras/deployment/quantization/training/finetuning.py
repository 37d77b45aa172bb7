"""`finetune`: from a folded network to the same graph whose kernels were trained on their grid."""

import dataclasses
import math

import keras
import numpy as np
from keras import ops

from dirac_keras.brief import brief
from dirac_keras.deployment.quantization.fake import Ranges
from dirac_keras.deployment.quantization.grids import signal_to_noise_db
from dirac_keras.deployment.quantization.network import Network, copy_of
from dirac_keras.deployment.quantization.rounding import METHODS, round_network
from dirac_keras.deployment.quantization.running import most_images, run
from dirac_keras.deployment.quantization.training.batches import Batches
from dirac_keras.deployment.quantization.training.kernels import GridKernel
from dirac_keras.deployment.quantization.training.student import Student
from dirac_keras.errors import RunError, UserError, check_choice
from dirac_keras.graph.casting import to_float32
from dirac_keras.listing import listed

TARGETS = ("outputs", "labels")
CALIBRATION = 2048  # images at most that ranges and the start are read from
RANGE_MOMENTUM = 0.99


@brief
@dataclasses.dataclass(frozen=True)
class FinetuneReport:
    """What fine-tuning did.

    Attributes:
        bits: int, of a weight.
        activation_bits: int, of a tensor between layers in training; None: float.
        layers: tuple of paths of the layers on the grid.
        left: dict, path -> why the kernels of this layer are not.
        steps: int, training steps.
        first_loss, last_loss: numbers, means over the first and the last epoch.
        start_db, db: signal to noise ratio of the outputs on the images that ranges were read from, before the first
            step and at the end, with weights and tensors rounded as in training.
    """

    bits: int
    activation_bits: int | None
    layers: tuple
    left: dict
    steps: int
    first_loss: float
    last_loss: float
    start_db: float
    db: float

    def to_dict(self):
        """JSON-safe."""
        return {**dataclasses.asdict(self), "layers": list(self.layers)}


def finetune(
    model,
    dataset,
    bits=8,
    epochs=10,
    batch_size=64,
    learning_rate=0.03,
    targets="outputs",
    start="follow",
    activation_bits=8,
    ranges="calibration",
    kept=(),
    seed=0,
    prepare=None,
    free=None,
):
    """Train a folded network on, with its kernels and the tensors between its layers rounded as a runtime rounds them.

    In the forward pass every weight is an integer of its filter's grid; in the backward pass rounding is taken for the
    identity (straight-through). The optimizer is Adam; the rate falls to zero as a cosine. The graph stays what it is.

    Args:
        model: folded Functional or Sequential `keras.Model`, of one input.
        dataset: array `(samples, ...)`, what the model is fed with; with `targets="labels"` a pair of arrays `(images,
            labels)`; or an iterable of batches, of images or pairs, that can be read again in each epoch.
        bits: int, of a weight: 8 or 4.
        epochs: int.
        batch_size: int, for arrays.
        learning_rate: number above 0, steps of the grid that a weight moves at most in a training step.
        targets: `"outputs"`: the outputs of `model` itself, no labels are needed. `"labels"`: the cross-entropy, of one
            logit that of two classes.
        start: one of `rounding.METHODS`, where the kernels start.
        activation_bits: int, of the tensors between layers, or None: these stay in float, as with int4 weights alone.
        ranges: `"calibration"`: the ranges of these tensors are those on the first 2,048 images. `"moving"`: from there
            they follow the batches.
        kept: paths of layers whose kernels stay as they are.
        seed: int, of the order of the images.
        prepare: function of some images of `dataset` to what the model is fed with; None: they are that.
        free: None, or dict, path -> bool array of the kernel's shape: weights that are no integers, and stay.

    Returns: `(model, FinetuneReport)`: a float32 copy with the kernels on the grid, each filter's largest weight the
        largest integer.
    Raises: ValueError: if an argument does not fit. RunError: if the loss is no number.
    Source: Jacob et al. 2018, arXiv:1712.05877, section 3; the targets as in Hinton et al. 2015, arXiv:1503.02531, of
        infinite temperature (their section 2.1).
    """
    _check(bits, activation_bits, epochs, learning_rate, targets, start, ranges)
    data = Batches(dataset, batch_size, seed, with_labels=targets == "labels", prepare=prepare)
    images = data.first(CALIBRATION)
    original, copy = Network(to_float32(model), images.shape[1:]), copy_of(model)
    images = images[: most_images(original)]
    twin = Network(copy, images.shape[1:])
    _check_network(original, kept, targets)
    observed = _Observed(original, kept)
    reference = run(original, images, observed.watch)
    if not np.isfinite(reference).all():
        raise UserError(f"model: '{model.name}' gives numbers that are not finite on the images. Train it again.")
    free = free or {}
    round_network(original, twin, images, bits, start, kept, free=free)
    kernels = {
        path: GridKernel(twin.layers[path], original.taps(path), bits, observed.rms(path), free.get(path))
        for path in original.layers
        if path not in kept
    }
    student = Student(
        twin,
        kernels,
        _translated(observed.ranges.limits, original, twin) if activation_bits else {},
        activation_bits or 8,
        RANGE_MOMENTUM if ranges == "moving" else None,
    )
    start_db = signal_to_noise_db(reference, _predict(student, images))
    losses, steps = _train(student, Student(original), data, epochs, learning_rate, targets)
    db = signal_to_noise_db(reference, _predict(student, images))
    for path, kernel in kernels.items():
        kernel.write(twin.layers[path])
    left = {**original.left, **{path: "it was to be kept" for path in kept}}
    report = FinetuneReport(
        bits, activation_bits, tuple(kernels), left, steps, losses[0], losses[-1], float(start_db), float(db)
    )
    return copy, report


def _check(bits, activation_bits, epochs, learning_rate, targets, start, ranges):
    if bits not in (8, 4) or isinstance(bits, bool):
        raise UserError(f"bits must be 8 or 4. Received bits={bits!r}.")
    if activation_bits not in (8, 16, None):
        raise UserError(f"activation_bits must be 8, 16 or None. Received activation_bits={activation_bits!r}.")
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise UserError(f"epochs must be a whole number above 0. Received epochs={epochs!r}.")
    is_number = isinstance(learning_rate, (int, float)) and not isinstance(learning_rate, bool)
    if not is_number or not 0 < learning_rate < math.inf:
        raise UserError(f"learning_rate must be a number above 0. Received learning_rate={learning_rate!r}.")
    for name, value, choices in (
        ("targets", targets, TARGETS),
        ("start", start, METHODS),
        ("ranges", ranges, ("calibration", "moving")),
    ):
        check_choice(name, value, choices)


def _check_network(network, kept, targets):
    unknown = [path for path in kept if path not in network.layers]
    if unknown:
        raise UserError(
            f"kept must name layers that are quantized: {listed(network.layers, 8)}. Received {unknown[0]!r}."
        )
    if len(kept) == len(network.layers):
        raise UserError(f"model must have a layer to quantize. Received '{network.model.name}', which has none left.")
    if targets == "labels" and (len(network.outputs) != 1 or len(network.model.outputs[0].shape) != 2):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in network.model.outputs)
        raise UserError(
            f"targets=\"labels\" needs a classifier, of one output (batch, classes). Received '{network.model.name}' "
            f'with {shapes}; give targets="outputs".'
        )


def _translated(limits, network, twin):
    """Limits by the numbers that a copy of the network has for the same tensors."""
    numbers = {network.input: twin.input}
    for call, other in zip(network.calls, twin.calls, strict=True):
        numbers |= zip(call.outputs, other.outputs, strict=True)
    return {numbers[tensor]: pair for tensor, pair in limits.items()}


class _Observed:
    """The ranges of a network's tensors, and the root mean square of what its layers are given."""

    def __init__(self, network, kept):
        self.ranges = Ranges(network, kept)
        self._inputs = {path: network.calls_of(layer)[0].inputs[0] for path, layer in network.layers.items()}
        self._rms = dict.fromkeys(self._inputs.values(), 0.0)

    def watch(self, tensor, values):
        if tensor in self._rms:
            self._rms[tensor] = float(np.sqrt(np.mean(np.square(values, dtype="float64"))))
        return self.ranges.watch(tensor, values)

    def rms(self, path):
        return self._rms[self._inputs[path]]


def _predict(student, images):
    return np.concatenate([student.predict_on_batch(images[at : at + 128]) for at in range(0, len(images), 128)])


def _train(student, teacher, data, epochs, learning_rate, targets):
    """Losses by epoch and the number of steps."""
    _compile(student, learning_rate, targets, epochs * data.length)
    losses, step = [], 0
    for epoch in range(epochs):
        total, count = 0.0, 0
        for images, labels in data.epoch(epoch):
            wanted = labels if targets == "labels" else teacher.predict_on_batch(images)
            student.reset_metrics()  # else Keras gives the mean over all steps so far
            loss = float(student.train_on_batch(images, wanted))
            if not math.isfinite(loss):
                raise RunError(
                    f"Fine-tuning: the loss became {loss} in step {step + 1}. "
                    f"Lower `learning_rate` ({learning_rate:g})."
                )
            total, count, step = total + loss, count + 1, step + 1
        losses.append(total / count)
    return losses, step


def _compile(student, learning_rate, targets, steps):
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    loss = relative_error if targets == "outputs" else _cross_entropy
    student.compile(keras.optimizers.Adam(rate), loss=loss, jit_compile=False if _is_on_tensorflow() else "auto")


def _is_on_tensorflow():
    return keras.backend.backend() == "tensorflow"


def _cross_entropy(labels, logits):
    """Mean over the images; one logit is that of the second of two classes."""
    if logits.shape[-1] == 1:
        labels = ops.reshape(ops.cast(labels, logits.dtype), (-1, 1))
        return ops.mean(ops.binary_crossentropy(labels, logits, from_logits=True))
    return ops.mean(ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def relative_error(wanted, given):
    """Mean square of the difference, in units of the mean square of what is wanted: -10 log10 of it is the SQNR."""
    return ops.mean(ops.square(given - wanted)) / (ops.mean(ops.square(wanted)) + 1e-12)
