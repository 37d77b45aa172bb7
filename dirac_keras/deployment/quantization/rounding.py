"""Kernels of a folded network moved onto the grid of the integers that a runtime will store."""

import dataclasses

import keras
import numpy as np
import threadpoolctl

from dirac_keras.deployment.quantization.bias import corrected_bias
from dirac_keras.deployment.quantization.fake import Ranges
from dirac_keras.deployment.quantization.gptq import Hessian, round_by_data
from dirac_keras.deployment.quantization.grids import filter_scales, signal_to_noise_db, to_nearest, to_weights
from dirac_keras.deployment.quantization.moments import Moments, rows_to_read
from dirac_keras.deployment.quantization.network import Network, copy_of
from dirac_keras.deployment.quantization.running import Tensors
from dirac_keras.errors import check_choice
from dirac_keras.graph.casting import to_float32

MANY_TAPS = 1024  # from here on a second thread of BLAS works more than it waits
METHODS = ("nearest", "bias", "data", "follow")


@dataclasses.dataclass(frozen=True)
class RoundedLayer:
    """What rounding did to one layer.

    Attributes:
        name: str, its path: that of a layer in a nested model is `model/layer`.
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
    - `"bias"`: the same, and the mean error of each channel on the data goes into its bias.
    - `"data"`: the errors of a filter's weights make good one another on the data (`gptq.round_by_data`); the mean
      error of a channel goes into its bias.
    - `"follow"`: before that, a layer's weights are fitted anew, by least squares: on the inputs that the rounded
      layers below give, its outputs are to be those of the original network. In a chain whose filters hold an
      identity the errors of all layers add up to the end; this takes them out at each.

    A layer that is called more than once is rounded by what it is given in all calls of the original network.

    Args:
        model: folded Functional or Sequential `keras.Model`, of one input.
        images: array `(samples, ...)`, what the model is fed with; labels are not needed.
        bits: int, of a weight: 8 or 4.
        method: one of `METHODS`.

    Returns: `(model, tuple of RoundedLayer)`.
    Raises: ValueError: if an argument does not fit.
    """
    check_choice("method", method, METHODS)
    copy, shape = copy_of(model), np.shape(images)[1:]
    original = Network(to_float32(model), shape)
    return copy, round_network(original, Network(copy, shape), images, bits, method)


def round_network(
    original,
    copy,
    images,
    bits=8,
    method="follow",
    kept=(),
    activation_bits=None,
    seed=0,
    unrounded=None,
    free=None,
):
    """`round_weights` in place, for networks that are at hand.

    Args:
        original: `Network`.
        copy: `Network` of a copy of its model, which is changed.
        images, bits, method: as in `round_weights`.
        kept: paths of layers that stay in float. They make good what the layers below changed as others do: `"follow"`
            fits their weights anew, and a bias takes the mean error.
        activation_bits: int, or None. The data are what a network gives whose tensors are rounded to so many bits.
        seed: int, of the positions that are read of large images.
        unrounded: None, or dict that receives, for each path, the layer's weights before they were rounded.
        free: None, or dict, path -> bool array of the kernel's shape: weights that may be any number.

    Returns: tuple of `RoundedLayer`, without those kept.
    """
    with threadpoolctl.threadpool_limits(_threads(original), user_api="blas"):
        return _round(original, copy, images, _Rounding(bits, method, kept, unrounded, free), activation_bits, seed)


def rounded_layers(original, copy, kept=()):
    """Tuple of `RoundedLayer` of a network whose kernels were rounded, however that was done.

    Args:
        original, copy: `Network`, before and after.
        kept: paths of layers that were not.
    """
    return tuple(
        _rounded_layer(path, *(original.taps(path).matrices(_numpy(n.layers[path].kernel)) for n in (original, copy)))
        for path in original.layers
        if path not in kept
    )


def _rounded_layer(path, matrices, new):
    return RoundedLayer(path, max_over_rms(matrices), signal_to_noise_db(matrices, new))


def _threads(network):
    taps = [np.prod(layer.kernel.shape[:-1]) for layer in network.layers.values()]
    return None if max(taps, default=0) >= MANY_TAPS else 1


def _round(original, copy, images, rounding, activation_bits, seed):
    if rounding.method == "nearest":
        for path in original.layers:
            rounding.round(path, original, copy, None)
        return tuple(rounding.done)
    before, after = Tensors(original, images), Tensors(copy, images)
    ranges = Ranges(copy, rounding.kept) if activation_bits else None
    if ranges is not None:
        after.values[copy.input] = _on_grid(ranges, copy.input, after.values[copy.input], activation_bits)
    shared = _moments_of_shared(original, images, rounding, seed)
    waiting = set(original.layers)
    for call, twin in zip(original.calls, copy.calls, strict=True):
        if call.path in waiting and call.operation is original.layers.get(call.path):
            waiting.remove(call.path)
            moments = shared.get(call.path)
            if moments is None:
                moments = rounding.moments(call.path, original)
                inputs = before.values[call.inputs[0]], after.values[twin.inputs[0]]
                _read(original.taps(call.path), moments, *inputs, seed)
            rounding.round(call.path, original, copy, moments)
        before.store(call, before.outputs_of(call))
        outputs = after.outputs_of(twin)
        if ranges is not None:
            outputs = [_on_grid(ranges, t, v, activation_bits) for t, v in zip(twin.outputs, outputs, strict=True)]
        after.store(twin, outputs)
    return tuple(rounding.done)


class _Rounding:
    """Rounds one layer after another and remembers which."""

    def __init__(self, bits, method, kept, unrounded, free):
        self.bits, self.method, self.kept = bits, method, kept
        self.unrounded = {} if unrounded is None else unrounded
        self.free = free or {}
        self.done = []

    def moments(self, path, original):
        """`Moments` with what the method needs of a layer."""
        matrices = _matrices(path, original) if self.method == "follow" else None
        return Moments(self.method in ("data", "follow"), matrices)

    def round(self, path, original, copy, moments):
        layer, taps = copy.layers[path], original.taps(path)
        matrices, by_data = _matrices(path, original), self.method in ("data", "follow")
        hessians = [Hessian(gram) for gram in moments.gram] if by_data else ()
        fitted = _fitted(matrices, moments.cross, hessians) if self.method == "follow" else matrices
        self._assign(layer, taps, original.layers[path], matrices, fitted, moments)
        self.unrounded[path] = layer.get_weights()
        if path in self.kept:
            return
        free = taps.matrices(self.free.get(path, np.zeros(taps.kernel_shape, bool)))
        new = _by_data(fitted, hessians, self.bits, free) if by_data else _nearest(matrices, self.bits, free)
        self._assign(layer, taps, original.layers[path], matrices, new, moments)
        self.done.append(_rounded_layer(path, matrices, new))

    def _assign(self, layer, taps, source, matrices, new, moments):
        layer.kernel.assign(taps.kernel(new))
        if moments is not None and layer.use_bias:
            bias = _numpy(source.bias)
            layer.bias.assign(corrected_bias(bias, matrices, moments.mean_original, new, moments.mean))


def _matrices(path, network):
    return network.taps(path).matrices(_numpy(network.layers[path].kernel))


def _numpy(variable):
    return keras.ops.convert_to_numpy(variable).astype("float64")


def _nearest(matrices, bits, free):
    new = []
    for matrix, mask in zip(matrices, free, strict=True):
        scales = filter_scales(np.where(mask, 0.0, matrix), bits)
        new.append(np.where(mask, matrix, to_weights(to_nearest(matrix, scales, bits), scales)))
    return np.stack(new)


def _fitted(matrices, cross, hessians):
    """min over V of |V h - W x|^2, with the damping that draws V to W where the data say nothing."""
    parts = zip(matrices, cross, hessians, strict=True)
    return np.stack([hessian.solve(wanted + hessian.damping * matrix) for matrix, wanted, hessian in parts])


def _by_data(matrices, hessians, bits, free):
    new = []
    for matrix, hessian, mask in zip(matrices, hessians, free, strict=True):
        scales = filter_scales(np.where(mask, 0.0, matrix), bits)
        new.append(to_weights(round_by_data(matrix, hessian, scales, bits, free=mask), scales))
    return np.stack(new)


def _read(taps, moments, original, rounded, seed):
    """Add what a layer is given in both networks, in batches, large images in part."""
    step = taps.chunk(original.shape[1:])
    random = np.random.default_rng(seed)
    for start in range(0, len(original), step):
        batches = [inputs[start : start + step] for inputs in (original, rounded)]
        rows = rows_to_read(taps.rows(batches[0]), taps.count, len(batches[0]), len(original), random)
        moments.add(*(taps.columns(batch, rows) for batch in batches))


def _moments_of_shared(original, images, rounding, seed):
    """dict, path -> `Moments` over all calls, of layers that are called more than once."""
    shared = {path for path, layer in original.layers.items() if _count(original, layer) > 1}
    found = {path: rounding.moments(path, original) for path in shared}
    if not found:
        return found
    tensors = Tensors(original, images)
    for call in original.calls:
        if call.path in found and call.operation is original.layers.get(call.path):
            given = tensors.values[call.inputs[0]]
            _read(original.taps(call.path), found[call.path], given, given, seed)
        tensors.store(call, tensors.outputs_of(call))
    return found


def _count(network, layer):
    return sum(call.operation is layer for call in network.calls)


def _on_grid(ranges, tensor, values, bits):
    return ranges.quantize(tensor, ranges.watch(tensor, values), bits)


def max_over_rms(matrices):
    """The largest over the filters of their largest weight over their rms."""
    rms = np.sqrt(np.mean(matrices**2, axis=2))
    return float(np.max(np.max(np.abs(matrices), axis=2) / np.maximum(rms, np.finfo("float64").tiny)))
