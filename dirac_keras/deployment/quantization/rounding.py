"""Kernels of a folded network moved onto the grid of the integers that a runtime will store."""

import dataclasses

import keras
import numpy as np

from dirac_keras.deployment.quantization.gptq import damped, round_by_data
from dirac_keras.deployment.quantization.grids import filter_scales, signal_to_noise_db, to_nearest, to_weights
from dirac_keras.deployment.quantization.moments import Moments
from dirac_keras.deployment.quantization.taps import Taps
from dirac_keras.errors import UserError
from dirac_keras.graph.functional import check_has_graph

QUANTIZED = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)
METHODS = ("nearest", "data", "follow")


@dataclasses.dataclass(frozen=True)
class RoundedLayer:
    """What rounding did to one layer.

    Attributes:
        name: str.
        max_over_rms: float, the largest over the filters of their largest weight over their rms: 2 to 4 for an
            ordinary filter, 10 to 25 where an identity tap stands beside the learned ones.
        weight_db: float, signal to noise ratio of the kernel.
    """

    name: str
    max_over_rms: float
    weight_db: float


def round_weights(model, images, bits=8, method="follow"):
    """A copy of `model` whose kernels lie on the grid that a per-channel quantizer will choose.

    The layers are rounded in the order of computation. Methods:

    - `"nearest"`: each weight on its own.
    - `"data"`: the errors of a filter's weights make good one another on the data (`gptq.round_by_data`); the mean
      error of a channel goes into its bias.
    - `"follow"`: before that, a layer's weights are fitted anew, by least squares: on the inputs that the rounded
      layers below give, its outputs are to be those of the original network. In a chain whose filters hold an
      identity the errors of all layers add up to the end; this takes them out at each.

    Args:
        model: folded Functional or Sequential `keras.Model`, of one input.
        images: array `(samples, ...)`, what the model is fed with; labels are not needed.
        bits: int, of a weight: 8 or 4.
        method: one of `METHODS`.

    Returns: `(model, tuple of RoundedLayer)`.
    Raises: ValueError: if an argument does not fit.
    """
    check_has_graph(model)
    if method not in METHODS:
        raise UserError(f"method must be one of {', '.join(METHODS)}. Received method={method!r}.")
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    rounded = []
    for original, layer in zip(model.layers, copy.layers, strict=True):
        if type(layer) in QUANTIZED:
            taps = Taps(original)
            matrices = taps.matrices(keras.ops.convert_to_numpy(original.kernel).astype("float64"))
            if method == "nearest":
                new = _nearest(matrices, bits)
            else:
                moments = _moments(taps, (model, original), (copy, layer), images)
                new = _by_data(matrices, moments, bits, method == "follow")
                _correct_bias(layer, matrices, new, moments)
            layer.kernel.assign(taps.kernel(new))
            rounded.append(RoundedLayer(layer.name, _max_over_rms(matrices), signal_to_noise_db(matrices, new)))
    return copy, tuple(rounded)


def _nearest(matrices, bits):
    scales = [filter_scales(matrix, bits) for matrix in matrices]
    return np.stack([to_weights(to_nearest(m, s, bits), s) for m, s in zip(matrices, scales, strict=True)])


def _by_data(matrices, moments, bits, follow):
    new = []
    for matrix, gram, cross in zip(matrices, moments.gram, moments.cross, strict=True):
        if follow:
            # min over V of |V h - W x|^2, with the damping that draws V to W where the data say nothing
            matrix = np.linalg.solve(damped(gram), (matrix @ (cross + damped(gram) - gram)).T).T
        scales = filter_scales(matrix, bits)
        new.append(to_weights(round_by_data(matrix, gram, scales, bits), scales))
    return np.stack(new)


def _correct_bias(layer, matrices, new, moments):
    if layer.use_bias:
        wanted = np.einsum("pft,pt->pf", matrices, moments.mean_original)
        shift = wanted - np.einsum("pft,pt->pf", new, moments.mean)
        layer.bias.assign(keras.ops.convert_to_numpy(layer.bias) + shift.reshape(-1))


def _moments(taps, original, rounded, images):
    """`Moments` of the inputs of a layer; `original`, `rounded`: `(model, layer)`."""
    probes = [keras.Model(model.inputs, layer.input) for model, layer in (original, rounded)]
    step = taps.chunk(original[1].input.shape[1:])
    moments = Moments()
    for start in range(0, len(images), step):
        batch = images[start : start + step]
        moments.add(*(taps.columns(probe.predict_on_batch(batch)) for probe in probes))
    return moments


def _max_over_rms(matrices):
    rms = np.sqrt(np.mean(matrices**2, axis=2))
    return float(np.max(np.max(np.abs(matrices), axis=2) / np.maximum(rms, np.finfo("float64").tiny)))
