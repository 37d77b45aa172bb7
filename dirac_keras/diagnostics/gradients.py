"""The gradients of the loss, layer by layer: how long they are, and how much those of two samples agree."""

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from dirac_keras.diagnostics.taps import to_numpy
from dirac_keras.errors import UserError

SAMPLES_AT_ONCE = 16  # in a backward pass, which holds every tensor of the network
MAX_COORDINATES = 4096  # of a layer's response, for the cosines


@dataclass(frozen=True)
class GradientStatistics:
    """Gradients at inference (moving statistics, no dropout), in the precision of the model.

    | field | what it is |
    |---|---|
    | `samples` | of the data, a random part |
    | `kernel_gradient_norm` | of the mean loss, by the layer's kernel (raw kernel of a Dirac layer) |
    | `relative_kernel_gradient` | that divided by the kernel's own norm; None if the kernel is 0 |
    | `response_gradient_norm` | root mean square over samples of the norm of a sample's loss by the units' response |
    | `cosine` | mean cosine of the latter gradient over pairs of samples: near 0 for shattered gradients |
    | `absolute_cosine` | the same of absolute cosines, as classes may pull in opposite directions |
    | `samples_without_gradient` | samples whose gradient is exactly 0; they are in no pair |

    The cosines of a response of more than 4,096 numbers are taken over a fixed random part of them.

    Source: Balduzzi et al. 2017, arXiv:1702.08591, section 3: the correlation of two samples' gradients, there an
    expectation over initial weights, here a mean over the coordinates of one network's gradients; and there of the
    network's output, here of the loss.
    """

    samples: int
    kernel_gradient_norm: float
    relative_kernel_gradient: float | None
    response_gradient_norm: float
    cosine: float | None
    absolute_cosine: float | None
    samples_without_gradient: int


def check_labels(labels, classes):
    """Labels as int32 `(batch,)`. Raises: ValueError: if they are no class numbers from 0 to `classes` - 1."""
    flat = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    way_out = "Give class numbers, or a loss= of your own, or images alone."
    if flat.ndim != 1 or flat.dtype.kind not in "iuf" or np.any(flat != np.floor(flat)):
        raise UserError(
            f"labels must be whole class numbers of shape (batch,). Received {labels.dtype} of shape {labels.shape}. "
            + way_out
        )
    wrong = flat[(flat < 0) | (flat >= classes)]
    if wrong.size:
        raise UserError(f"labels must be from 0 to {classes - 1}, the model's classes. Received {wrong[0]}. {way_out}")
    return flat.astype("int32")


def crossentropy(from_probabilities):
    """The default loss: function of labels `(batch,)` and outputs `(batch, classes)` to losses `(batch,)`, float32."""

    def loss(labels, outputs):
        outputs = ops.cast(outputs, "float32")
        if from_probabilities:
            logs = ops.log(ops.maximum(outputs, float(np.finfo("float32").tiny)))
        else:
            logs = ops.log_softmax(outputs, axis=-1)
        return -ops.sum(logs * ops.one_hot(labels, outputs.shape[-1], dtype="float32"), axis=-1)

    return loss


def measure_gradients(network, inputs, labels, loss, seed=0):
    """`GradientStatistics` of every tap.

    Args:
        network: `Network`.
        inputs: list of arrays with a sample axis, one for each input of the model.
        labels: array with a sample axis.
        loss: function of labels and the model's output (a list of several) to one loss a sample, `(batch,)`.
        seed: of the part of large responses.

    Returns: dict tap name -> `GradientStatistics`, and a list of `(tap name, why)` of those that have none.
    Raises: ValueError: if there are fewer than two samples, `loss` gives something else than one number a sample, or
        the backend has no gradients here.
    """
    samples = len(labels)
    if samples < 2:
        raise UserError(f"gradients need at least 2 samples, to be compared. Received {samples}.")
    kernels = {tap.name: _kernels_of(tap.layer) for tap in network.taps}
    variables = list({id(v): v for group in kernels.values() for v in group}.values())
    sums = [0.0] * len(variables)
    collected = {tap.name: _ResponseGradients(seed) for tap in network.taps}
    for start in range(0, samples, SAMPLES_AT_ONCE):
        chosen = slice(start, start + SAMPLES_AT_ONCE)
        by_kernel, by_response = _backward(
            network, [value[chosen] for value in inputs], labels[chosen], loss, variables
        )
        sums = [total + gradient for total, gradient in zip(sums, by_kernel, strict=True)]
        for name, gradient in by_response.items():
            collected[name].update(gradient)
    by_variable = {
        id(v): np.sum(np.square(s, dtype="float64")) / samples**2 for v, s in zip(variables, sums, strict=True)
    }
    measured, failed = {}, []
    for tap in network.taps:
        square = sum(by_variable[id(v)] for v in kernels[tap.name])
        gradients = collected[tap.name]
        if not np.isfinite(square) or not np.all(np.isfinite(gradients.norms())):
            failed.append((tap.name, "the gradient holds NaN or infinity"))
            continue
        cosine, absolute_cosine, idle = gradients.agreement()
        measured[tap.name] = GradientStatistics(
            samples=samples,
            kernel_gradient_norm=float(np.sqrt(square)),
            relative_kernel_gradient=_relative_norm(square, kernels[tap.name]),
            response_gradient_norm=float(np.sqrt(np.mean(np.square(gradients.norms())))),
            cosine=cosine,
            absolute_cosine=absolute_cosine,
            samples_without_gradient=idle,
        )
    return measured, failed


def _relative_norm(square, variables):
    own = sum(float(np.sum(np.square(to_numpy(variable), dtype="float64"))) for variable in variables)
    return math.sqrt(square / own) if own > 0 and math.isfinite(own) else None


class _ResponseGradients:
    """Norms of all samples' gradients, and the part of their coordinates that is compared."""

    def __init__(self, seed):
        self._random = np.random.default_rng(seed)
        self._coordinates = None
        self._norms, self._parts = [], []

    def update(self, gradient):
        flat = gradient.reshape(len(gradient), -1)
        if self._coordinates is None:
            size = flat.shape[1]
            some = self._random.choice(size, MAX_COORDINATES, replace=False) if size > MAX_COORDINATES else slice(None)
            self._coordinates = some
        self._norms.append(np.linalg.norm(flat.astype("float64"), axis=1))
        self._parts.append(np.array(flat[:, self._coordinates]))

    def norms(self):
        return np.concatenate(self._norms)

    def agreement(self):
        vectors = np.concatenate(self._parts).astype("float64")
        norms = np.linalg.norm(vectors, axis=1)
        live = norms > 0
        idle = int(np.count_nonzero(self.norms() == 0))
        if np.count_nonzero(live) < 2:
            return None, None, idle
        directions = vectors[live] / norms[live, None]
        cosines = (directions @ directions.T)[np.triu_indices(len(directions), 1)]
        return float(cosines.mean()), float(np.abs(cosines).mean()), idle


def _kernels_of(layer):
    names = ("kernel",) if hasattr(layer, "kernel") else ("depthwise_kernel", "pointwise_kernel")
    found = [getattr(layer, name) for name in names]
    known = {id(variable) for variable in layer.variables}
    return [variable for variable in found if id(variable) in known]  # a quantized kernel is a tensor


def _losses(network, outputs, labels, loss):
    losses = loss(labels, outputs[0] if len(outputs) == 1 else outputs)
    if tuple(losses.shape) != (len(labels),):
        raise UserError(
            f"loss must give one number a sample, shape ({len(labels)},). Received shape {tuple(losses.shape)}; "
            "a keras.losses.Loss does with reduction=None."
        )
    return ops.sum(ops.cast(losses, "float32"))


def _backward(network, inputs, labels, loss, variables):
    """Gradients of the sum of the losses, by each variable and by each response (dict by tap name), as arrays."""
    backend = keras.backend.backend()
    functions = {"tensorflow": _tensorflow_backward, "jax": _jax_backward}
    if backend not in functions:
        raise UserError(f"gradients are measured on the tensorflow and jax backends. Received KERAS_BACKEND={backend}.")
    by_kernel, by_response = functions[backend](network, inputs, labels, loss, variables)
    by_response = {name: to_numpy(gradient) for name, gradient in by_response.items()}
    return [to_numpy(gradient) for gradient in by_kernel], by_response


def _tensorflow_backward(network, inputs, labels, loss, variables):
    import tensorflow as tf

    responses = {}
    with tf.GradientTape() as tape:
        tape.watch([variable.value for variable in variables])

        def watch(tap, response):
            tape.watch(response)
            responses[tap.name] = response

        total = _losses(network, network.run(inputs, watch), labels, loss)
    sources = ([variable.value for variable in variables], responses)
    return tape.gradient(total, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _jax_backward(network, inputs, labels, loss, variables):
    import jax

    zeros = {}
    network.run(inputs, lambda tap, response: zeros.update({tap.name: ops.zeros_like(response)}))

    def total(kernels, shifts):
        with keras.StatelessScope(state_mapping=list(zip(variables, kernels, strict=True))):
            outputs = network.run(inputs, lambda tap, response: response + shifts[tap.name])
            return _losses(network, outputs, labels, loss)

    return jax.grad(total, argnums=(0, 1))([variable.value for variable in variables], zeros)
