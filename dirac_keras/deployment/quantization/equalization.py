"""Cross-layer equalization: what one layer gives in each channel scaled down, what the next takes of it scaled up."""

import dataclasses

import keras
import numpy as np

from dirac_keras.deployment.quantization.network import Network, copy_of
from dirac_keras.deployment.quantization.running import run
from dirac_keras.deployment.quantization.taps import Taps
from dirac_keras.errors import UserError, check_choice
from dirac_keras.graph.layer_types import is_keras_op, raw_operation_name

OBJECTIVES = ("weights", "activations")
LARGEST_FACTOR = 64.0  # of a channel: what a dead one would be scaled by has no bound of its own
SWEEPS = 20  # over all pairs; a change of a pair reaches the next one a sweep later

# For s > 0 they give f(s x) = s f(x), channel by channel.
_HOMOGENEOUS = (
    *("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D"),
    *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalMaxPooling1D"),
    *("GlobalMaxPooling2D", "GlobalMaxPooling3D", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping1D"),
    *("Cropping2D", "Cropping3D", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "Identity", "LeakyReLU", "PReLU"),
    *("UpSampling1D", "UpSampling2D", "UpSampling3D"),
)
_HOMOGENEOUS_OPS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "Identity", "StopGradient")
_ACTIVATIONS = (keras.activations.linear, keras.activations.relu, keras.activations.leaky_relu)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two layers between which channels can be scaled.

    Attributes:
        first, second: str, paths of the one that gives the channels and of the one that takes them.
        spread: int, inputs of the second that are one channel: the positions that were flattened, else 1.
        tensor: int, what the second takes, before it was flattened.
    """

    first: str
    second: str
    spread: int
    tensor: int


def equalizable_pairs(network):
    """The pairs of layers of a `Network` between which channels can be scaled without a change of its outputs.

    Between them stand only steps that scale with their input, such as ReLU without an upper bound, LeakyReLU and
    pooling, and each tensor is read once. ReLU6 has a bound, an addition has a second input: there is no pair.

    Returns: tuple of `Pair`.
    """
    readers = {}
    for call in network.calls:
        for tensor in call.inputs:
            readers.setdefault(tensor, []).append(call)
    found = []
    for call in network.calls:
        path, layer = call.path, call.operation
        if network.layers.get(path) is not layer or layer.activation not in _ACTIVATIONS:
            continue
        following = _next_layer(call, readers, network)
        if following is None:
            continue
        second, spread, tensor = following
        if all(len(network.calls_of(each)) == 1 for each in (layer, second.operation)):
            found.append(Pair(path, second.path, spread, tensor))
    return tuple(found)


def equalize(model, images=None, objective="weights", strength=0.5):
    """A copy of a model, the same function, whose channels are scaled so that they are more alike.

    Channel i of a pair is divided by `s_i` in the layer that gives it and multiplied in the one that takes it:

    - `"weights"`: `s_i = sqrt(r1_i r2_i) / r2_i`, r1 and r2 being the largest weights of the channel in both layers.
    - `"activations"`: `s_i` is `(range_i / geometric mean of all)^strength`: the channels' ranges come closer to one
      another, which are rounded with one step for all of them. Weights of the next layer take up the rest.

    Args:
        model: folded Functional or Sequential `keras.Model` of one input.
        images: array `(samples, ...)`, for `"activations"`.
        objective: one of `OBJECTIVES`.
        strength: number from 0 to 1, for `"activations"`.

    Returns: `(model, tuple of Pair)`; without a pair the copy is as the model.
    Raises: ValueError: if an argument does not fit.
    Source: Nagel et al. 2019, arXiv:1906.04721, section 4.1, eq. 11, exact for what scales with its input; the exponent
        on the range of activations: Xiao et al. 2023, arXiv:2211.10438, eq. 4.
    """
    check_choice("objective", objective, OBJECTIVES)
    if not 0 <= strength <= 1:
        raise UserError(f"strength must lie between 0 and 1. Received strength={strength}.")
    if objective == "activations" and images is None:
        raise UserError('objective="activations" needs images. Received images=None.')
    copy = copy_of(model)
    network = Network(copy, None if images is None else np.shape(images)[1:])
    pairs = equalizable_pairs(network)
    if objective == "weights":
        for _ in range(SWEEPS):
            changes = [_scale(network, pair, _factors_by_weights(network, pair)) for pair in pairs]
            if max(changes, default=0.0) < 1e-3:
                break
    else:
        ranges = _channel_ranges(network, images, pairs)
        for pair in pairs:
            _scale(network, pair, _bounded((ranges[pair.first] / _middle(ranges[pair.first])) ** strength))
    return copy, pairs


def _next_layer(call, readers, network):
    """`(call of the layer that takes what a call gives, spread, tensor)`, as in `Pair`, or None."""
    (tensor,) = call.outputs
    source, spread, channels = tensor, 1, call.output_shapes[0][-1]
    while len(readers.get(tensor, ())) == 1 and tensor not in network.outputs:
        (following,) = readers[tensor]
        operation = following.operation
        if network.layers.get(following.path) is operation:
            return (following, spread, source) if getattr(operation, "groups", 1) == 1 else None
        if is_keras_op(operation, "Flatten") and following.output_shapes[0][-1] and spread == 1:
            if following.input_shapes[0][-1] != channels:
                return None
            spread = following.output_shapes[0][-1] // channels
        elif _is_homogeneous(operation):
            source = following.outputs[0] if spread == 1 else source
        else:
            return None
        (tensor,) = following.outputs
    return None


def _is_homogeneous(operation):
    if is_keras_op(operation, "Activation"):
        return operation.activation in _ACTIVATIONS
    if is_keras_op(operation, "ReLU"):
        return operation.max_value is None and not operation.threshold
    known = any(is_keras_op(operation, name) for name in _HOMOGENEOUS)
    return known or raw_operation_name(operation) in _HOMOGENEOUS_OPS


def _factors_by_weights(network, pair):
    first, second = network.layers[pair.first], network.layers[pair.second]
    kernel = np.abs(_numpy(first.kernel))
    outputs = -2 if Taps(first).is_depthwise else -1  # from which axis on the channels given are counted
    r1 = kernel.max(axis=tuple(range(kernel.ndim + outputs))).reshape(-1)
    kernel = np.abs(_numpy(second.kernel))
    r2 = kernel.max(axis=(*range(kernel.ndim - 2), -1)).reshape(pair.spread, -1).max(axis=0)
    alive = (r1 > 0) & (r2 > 0)
    return _bounded(np.where(alive, np.sqrt(r1 / np.where(alive, r2, 1.0)), 1.0))


def _channel_ranges(network, images, pairs):
    """dict, path of a layer that gives -> the largest number of each channel on the images, as the next takes it."""
    found = {}
    paths = {pair.tensor: pair.first for pair in pairs}

    def watch(tensor, values):
        if tensor in paths:
            found[paths[tensor]] = np.abs(values).max(axis=tuple(range(values.ndim - 1))).astype("float64")
        return values

    run(network, images, watch)
    return found


def _middle(ranges):
    alive = ranges[ranges > 0]
    return np.exp(np.mean(np.log(alive))) if len(alive) else 1.0


def _bounded(factors):
    return np.clip(np.where(factors > 0, factors, 1.0), 1 / LARGEST_FACTOR, LARGEST_FACTOR)


def _scale(network, pair, factors):
    """Divide the channels that the first layer gives, multiply what the second takes. Returns: the largest change."""
    first, second = network.layers[pair.first], network.layers[pair.second]
    given = factors.reshape(first.kernel.shape[-2:]) if Taps(first).is_depthwise else factors
    first.kernel.assign(_numpy(first.kernel) / given)
    if first.use_bias:
        first.bias.assign(_numpy(first.bias) / factors)
    second.kernel.assign(_numpy(second.kernel) * np.tile(factors, pair.spread)[:, None])
    return float(np.max(np.abs(np.log(factors)), initial=0.0))


def _numpy(variable):
    return keras.ops.convert_to_numpy(variable).astype("float64")
