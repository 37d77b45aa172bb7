"""Layers that a scale and a shift per channel pass through unchanged, on the same axis or another one."""

import keras
import numpy as np

from dirac_keras.graph.layer_types import is_from_keras

_IDENTITY_AT_INFERENCE = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
)
_POOLING = {
    "average": (keras.layers.AveragePooling1D, keras.layers.AveragePooling2D, keras.layers.AveragePooling3D),
    "max": (keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D),
    "global average": (
        keras.layers.GlobalAveragePooling1D,
        keras.layers.GlobalAveragePooling2D,
        keras.layers.GlobalAveragePooling3D,
    ),
    "global max": (
        keras.layers.GlobalMaxPooling1D,
        keras.layers.GlobalMaxPooling2D,
        keras.layers.GlobalMaxPooling3D,
    ),
}
_COPYING = (  # every output position is one input position; interpolation between them has weights of sum 1
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
)
_ZERO_PADDING = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)


def why_not_passed(call, affine):
    """Why `f(scale * x + shift) = scale * f(x) + shift` fails for this call, or None.

    Args:
        call: `Call` of the layer or operation f.
        affine: `Affine` of its input; `axis` is None where f moves the channels.
    """
    layer = call.operation
    kind = type(layer)
    axis = affine.axis
    if axis is None:
        return "moves the channels"
    if kind in _IDENTITY_AT_INFERENCE or (
        kind is keras.layers.Activation and layer.activation is keras.activations.linear
    ):
        return "is called with training=True" if call.training else None
    if kind is keras.layers.Reshape:
        same = axis == len(call.input_shapes[0]) - 1 and call.input_shapes[0][-1] == call.output_shapes[0][-1]
        return None if same and call.output_shapes[0][-1] is not None else "moves the channels"
    if kind in (*sum(_POOLING.values(), ()), *_COPYING, *_ZERO_PADDING):
        if len(call.inputs) != 1:
            return "has a mask"
        if _channel_axis(layer, len(call.input_shapes[0])) != axis:
            return f"works across axis {axis}"
        if kind in (*_POOLING["max"], *_POOLING["global max"]) and np.any(affine.scale < 0):
            return "takes a maximum, which a negative scale would turn into a minimum"
        if kind in _ZERO_PADDING and np.any(affine.shift != 0):
            return "pads with zeros, which the shift would have to reach too"
        if getattr(layer, "interpolation", "nearest") not in ("nearest", "bilinear"):
            return f"interpolates ({layer.interpolation})"
        return None
    if isinstance(layer, keras.layers.Layer) and not is_from_keras(layer):
        return "is a layer without a rule"
    return "neither has a kernel nor lets a scale and shift per channel pass through"


def axis_before(call, axis):
    """Axis of the channels at the input of a call whose output has them on `axis`; None if they move."""
    if type(call.operation) in (*_POOLING["global average"], *_POOLING["global max"]):
        return _channel_axis(call.operation, len(call.input_shapes[0]))
    if type(call.operation) is keras.layers.Reshape:
        return len(call.input_shapes[0]) - 1 if axis == len(call.output_shapes[0]) - 1 else None
    return axis


def axis_behind(call, axis):
    """Axis of the channels at the output of a call whose input has them on `axis`."""
    if type(call.operation) in (*_POOLING["global average"], *_POOLING["global max"]):
        return axis if call.operation.keepdims else 1
    if type(call.operation) is keras.layers.Reshape:
        return len(call.output_shapes[0]) - 1
    return axis


def _channel_axis(layer, rank):
    return 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else rank - 1
