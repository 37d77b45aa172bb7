"""Activations as a runtime with integers holds them: one range a tensor, 8 bits, and where it puts them."""

import keras
import numpy as np

from dirac_keras.deployment.quantization.network import QUANTIZED
from dirac_keras.graph.layer_types import is_keras_op, raw_operation_name

# What gives only values that it was given, or zeros, which every grid has: it needs no range of its own.
_COPYING = (
    *("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "Flatten"),
    *("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping1D", "Cropping2D", "Reshape", "Permute", "Identity"),
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "AlphaDropout"),
    *("UpSampling1D", "ActivityRegularization", "RandomFlip", "RandomCrop", "RandomRotation", "RandomZoom"),
    *("RandomTranslation", "RandomContrast", "RandomBrightness"),
)
_COPYING_OPS = ("Reshape", "Transpose", "Squeeze", "ExpandDims", "MaxPool", "Pad", "Copy", "Identity", "StopGradient")
_RELUS = ("ReLU", "Relu", "Relu6")
_BEFORE_RELU = ("Add", "Conv", "DepthwiseConv")


def fake_quantize(values, low, high, bits=8):
    """Values rounded to the nearest of `2^bits` steps from `low` to `high`; zero is one of them exactly.

    Args:
        values: array.
        low, high: numbers; the range is widened to hold 0.
        bits: int.

    Returns: array float32.
    Source: Jacob et al. 2018, arXiv:1712.05877, eq. 12.
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if low == high:
        return np.asarray(values, "float32")
    levels = 2**bits - 1
    scale = np.float32((high - low) / levels)
    zero = np.float32(np.rint(-low / scale))
    values = np.asarray(values, "float32") / scale
    np.rint(values, out=values)
    np.clip(values, -zero, levels - zero, out=values)
    values *= scale
    return values


def quantized_tensors(network, kept=(), float_outputs=False):
    """`TensorRule.tensors` of a network, once."""
    return TensorRule(network, float_outputs).tensors(kept)


class TensorRule:
    """Which tensors hold integers, for any choice of layers that do not compute with them.

    A tensor stays in float only where what gives it and all that read it compute in float. An operation without a
    kernel does so where all its readers do. An activation that its convolution or addition takes along (ReLU) leaves no
    tensor between them. What copies values needs no grid of its own. The scaled image is computed in float.

    Args:
        network: `Network`.
        float_outputs: whether the outputs of the network stay in float, as ONNX Runtime and OpenVINO leave them.
    """

    def __init__(self, network, float_outputs=False):
        self.network, self.float_outputs = network, float_outputs
        readers = {}
        for place, call in enumerate(network.calls):
            for tensor in call.inputs:
                readers.setdefault(tensor, []).append(place)
        outputs, operations = set(network.outputs), [call.operation for call in network.calls]
        relus, takers = [*map(_is_relu, operations)], [*map(_takes_relu, operations)]
        self._readers, self._copies = readers, [*map(_copies, operations)]
        self._has_kernel = [network.layers.get(call.path) is call.operation for call in network.calls]
        self._gives = [bool(outputs & set(call.outputs)) for call in network.calls]
        self._taken_along = {  # by a ReLU that is one step with what gives the tensor
            tensor
            for place, call in enumerate(network.calls)
            for tensor in call.outputs
            if takers[place] and tensor not in outputs and len(of := readers.get(tensor, ())) == 1 and relus[of[0]]
        }

    def tensors(self, kept=()):
        """dict, number of a tensor that holds integers -> path of the call that gives it, `""` for the image.

        Args:
            kept: paths of layers in float.
        """
        network, is_float = self.network, self._in_float(set(kept))

        def is_read_in_float(tensor):
            return all(is_float[place] for place in self._readers.get(tensor, ()))

        found = {} if is_read_in_float(network.input) else {network.input: ""}
        made_in_float = {network.input: True}
        for place, call in enumerate(network.calls):
            source = call.inputs[0] if call.inputs else None
            goes_along = self._copies[place] or source in self._taken_along
            for tensor, dtype in zip(call.outputs, call.output_dtypes, strict=True):
                made_in_float[tensor] = made_in_float[source] if goes_along else is_float[place]
                if "float" not in dtype or self._copies[place] or tensor in found or tensor in self._taken_along:
                    continue
                if tensor in network.outputs:
                    stays = self.float_outputs or made_in_float[tensor]
                else:
                    stays = made_in_float[tensor] and is_read_in_float(tensor)
                if not stays:
                    found[tensor] = call.path
        return found

    def _in_float(self, kept):
        """By call, whether it computes in float: a layer that is kept, or what only such ones read."""
        calls = self.network.calls
        is_float = [False] * len(calls)
        for place in reversed(range(len(calls))):
            if self._has_kernel[place]:
                is_float[place] = calls[place].path in kept
            elif not self._gives[place]:
                of = [reader for tensor in calls[place].outputs for reader in self._readers.get(tensor, ())]
                is_float[place] = bool(of) and all(is_float[reader] for reader in of)
        return is_float


class Ranges:
    """The least and the largest number of each tensor that becomes integers, over batches of images.

    Attributes:
        paths: dict, number of a tensor -> path.
        limits: dict, number of a tensor -> `(low, high)`.
    """

    def __init__(self, network, kept=(), float_outputs=False):
        self.paths = quantized_tensors(network, kept, float_outputs)
        self.limits = {}

    def watch(self, tensor, values):
        """Note the range of a tensor; returns the values as they are (`running.run`'s `change`)."""
        if tensor in self.paths:
            low, high = self.limits.get(tensor, (np.inf, -np.inf))
            self.limits[tensor] = (min(low, float(values.min())), max(high, float(values.max())))
        return values

    def quantize(self, tensor, values, bits=8):
        """The values on the tensor's grid, as they are where it has none."""
        return fake_quantize(values, *self.limits[tensor], bits) if tensor in self.limits else values

    def by_path(self):
        """dict, path -> `(low, high)`, `""` for the image; a layer called more than once has the widest."""
        found = {}
        for tensor, (low, high) in self.limits.items():
            other = found.get(self.paths[tensor], (low, high))
            found[self.paths[tensor]] = (min(low, other[0]), max(high, other[1]))
        return found


def _copies(operation):
    if any(is_keras_op(operation, name) for name in _COPYING) or raw_operation_name(operation) in _COPYING_OPS:
        return True
    return is_keras_op(operation, "Activation") and operation.activation is keras.activations.linear


def _is_relu(operation):
    if is_keras_op(operation, "Activation"):
        return operation.activation in (keras.activations.relu, keras.activations.relu6)
    if not any(is_keras_op(operation, name) for name in _RELUS):
        return False
    return not getattr(operation, "negative_slope", 0.0) and not getattr(operation, "threshold", 0.0)


def _takes_relu(operation):
    if type(operation) in QUANTIZED:
        return operation.activation is keras.activations.linear
    return any(is_keras_op(operation, name) for name in ("Add", *_BEFORE_RELU))
