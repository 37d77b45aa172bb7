"""What a model costs and what it sees: multiply-accumulates and receptive fields, per layer."""

import dataclasses
import math
from fractions import Fraction

import keras

from dirac_keras.folding.graph import has_graph, trace
from dirac_keras.layers import BatchNormalization, DiracConv1D, DiracConv2D, DiracConv3D, DiracDense, VariableSkip


def count_macs(model, input_shapes=None):
    """Multiply-accumulates of one sample, per layer.

    Counted are convolutions, dense and recurrent layers, `EinsumDense` and `matmul`; a bias, a normalization,
    an activation or a pooling multiplies no two tensors and counts 0, as does a layer of unknown type.

    Args:
        model: Functional or built Sequential model.
        input_shapes: list of shapes with the batch axis, one per input; None takes the model's own.

    Returns: dict, layer name -> int, in the order of computation, without the layers that count 0. Layers of
        nested models are named `model/layer`; the calls of a shared layer are summed.
    Raises: ValueError: if the model has no graph of layers, or its shapes are unknown and not given.
    """
    macs = {}
    for call in _calls(model, input_shapes):
        count = _MACS.get(type(call.operation), _MACS.get(_op_name(call.operation)))
        if count is None:
            continue
        shapes = [*call.input_shapes, *call.output_shapes]
        if any(length is None for shape in shapes for length in shape):
            raise ValueError(
                f"input_shapes must leave no size unknown. Received input_shapes={input_shapes}, with which "
                f"layer '{call.path}' maps {call.input_shapes} to {call.output_shapes}."
            )
        batch = call.input_shapes[0][0]
        macs[call.path] = macs.get(call.path, 0) + count(call) // batch
    return macs


def receptive_fields(model):
    """How much of the input one position of each layer's output sees.

    Where branches meet, the larger one counts.

    Args:
        model: Functional or built Sequential model.

    Returns: dict, layer name -> tuple of int with one length per spatial axis (`(height, width)` for images);
        `"all"` behind whatever joins all positions, such as global pooling, `Flatten` or attention; None
        where it is not defined: no spatial axes, or a layer of unknown type. A shared layer: its last call.
    Raises: ValueError: if the model has no graph of layers.
    """
    graph = _graph(model, None)
    spatial_axes = [len(tensor.shape) - 2 for tensor in model.inputs]  # all but batch and channels
    fields = {
        tensor: _Field.of_pixel(axes) if axes > 0 else None
        for tensor, axes in zip(graph.inputs, spatial_axes, strict=True)
    }
    named = {}
    for call in graph.calls:
        field = _field(call, [fields.get(tensor) for tensor in call.inputs])
        for tensor in call.outputs:
            fields[tensor] = field
        named[call.path] = field.lengths() if isinstance(field, _Field) else field
    return named


def _graph(model, input_shapes):
    if not isinstance(model, keras.Model) or not has_graph(model):
        raise ValueError(
            f"model must be a Functional or built Sequential Keras model. Received {model!r}; build it with "
            "keras.Model(inputs, outputs), or give the Sequential model a keras.Input."
        )
    return trace(model, input_shapes)


def _calls(model, input_shapes):
    if input_shapes is None and isinstance(model, keras.Model) and has_graph(model):
        input_shapes = [(tensor.shape[0] or 1, *tensor.shape[1:]) for tensor in model.inputs]
    calls = _graph(model, input_shapes).calls
    return [_with_batch(call, input_shapes[0][0]) for call in calls] if input_shapes else calls


def _with_batch(call, batch):
    """Put back the batch that `EinsumDense` of Keras 3.12 forgets."""
    known = {
        side: [(batch, *shape[1:]) if len(shape) and shape[0] is None else shape for shape in getattr(call, side)]
        for side in ("input_shapes", "output_shapes")
    }
    return dataclasses.replace(call, **known)


def _op_name(operation):
    """Raw operations of Keras have no public class to look up."""
    is_raw = not isinstance(operation, keras.layers.Layer)
    return type(operation).__name__ if is_raw and type(operation).__module__.split(".")[0] == "keras" else None


# Multiply-accumulates -------------------------------------------------------------------------------------
def _spatial(shape, layer):
    channels_first = getattr(layer, "data_format", None) == "channels_first"
    return math.prod(shape[2:] if channels_first else shape[1:-1])


def _conv_macs(call):
    layer, shape = call.operation, call.output_shapes[0]
    return shape[0] * _spatial(shape, layer) * math.prod(layer.kernel.shape)


def _separable_macs(call):
    layer, shape = call.operation, call.output_shapes[0]
    weights = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return shape[0] * _spatial(shape, layer) * weights


def _transpose_macs(call):
    layer, shape = call.operation, call.input_shapes[0]
    return shape[0] * _spatial(shape, layer) * math.prod(layer.kernel.shape)


def _dense_macs(call):
    return math.prod(call.input_shapes[0]) * call.operation.units


def _einsum_dense_macs(call):
    """The product of all index lengths: each combination is one multiplication."""
    inputs, kernel = call.operation.equation.split("->")[0].split(",")
    lengths = dict(zip(reversed(kernel), reversed(call.operation.kernel.shape), strict=True))
    letters = [letter for letter in inputs if letter != "."]
    if "..." not in inputs:
        lengths.update(zip(letters, call.input_shapes[0], strict=True))
        return math.prod(lengths.values())
    front = inputs.index("...") == 0
    given = call.input_shapes[0]
    named = given[len(given) - len(letters) :] if front else given[: len(letters)]
    rest = math.prod(given) // math.prod(named)
    lengths.update(zip(letters, named, strict=True))
    return rest * math.prod(lengths.values())


def _recurrent_macs(call):
    batch, steps, _ = call.input_shapes[0]
    cell = call.operation.cell
    return batch * steps * (math.prod(cell.kernel.shape) + math.prod(cell.recurrent_kernel.shape))


def _matmul_macs(call):
    if len(call.input_shapes) != 2:
        return 0
    return math.prod(call.output_shapes[0]) * call.input_shapes[0][-1]


_CONVS = (
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
    *(DiracConv1D, DiracConv2D, DiracConv3D),
)
_SEPARABLES = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_TRANSPOSES = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_RECURRENTS = (keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)
_DENSES = (keras.layers.Dense, DiracDense)
_MACS = {
    **dict.fromkeys(_CONVS, _conv_macs),
    **dict.fromkeys(_SEPARABLES, _separable_macs),
    **dict.fromkeys(_TRANSPOSES, _transpose_macs),
    **dict.fromkeys(_DENSES, _dense_macs),
    **dict.fromkeys(_RECURRENTS, _recurrent_macs),
    keras.layers.EinsumDense: _einsum_dense_macs,
    "Matmul": _matmul_macs,
}


# Receptive fields -----------------------------------------------------------------------------------------
class _Field:
    """Per spatial axis: how many pixels are seen, and how many pixels lie between neighbours."""

    def __init__(self, sizes, jumps):
        self.sizes, self.jumps = sizes, jumps

    @classmethod
    def of_pixel(cls, axes):
        return cls((Fraction(1),) * axes, (Fraction(1),) * axes)

    def lengths(self):
        return tuple(math.ceil(size) for size in self.sizes)

    def widened(self, taps, strides):
        """Behind a window of `taps` neighbours that moves by `strides`, 1 / s where it makes s of one."""
        sizes = (size + (tap - 1) * jump for size, jump, tap in zip(self.sizes, self.jumps, taps, strict=True))
        jumps = (jump * stride for jump, stride in zip(self.jumps, strides, strict=True))
        return _Field(tuple(sizes), tuple(jumps))

    def joined(self, other):
        pairs = zip(self.sizes, other.sizes, strict=True), zip(self.jumps, other.jumps, strict=True)
        return _Field(*(tuple(max(pair) for pair in axis) for axis in pairs))


def _field(call, inputs):
    field = _joined(inputs)
    layer = call.operation
    if field is None or field == "all":
        return field
    if type(layer) in _ALL_POSITIONS:
        return "all"
    if type(layer) in _WINDOWS:
        return field.widened(*_WINDOWS[type(layer)](layer, len(field.sizes)))
    if type(layer) in _POINTWISE or (_op_name(layer) or "") in _POINTWISE_OPS:
        return field
    if type(layer) is keras.layers.LayerNormalization:
        return field if layer.axis in (-1, [-1], [len(field.sizes) + 1]) else "all"
    return None


def _joined(inputs):
    known = [field for field in inputs if field is not None]
    if not known or "all" in known:
        return "all" if known else None
    joined = known[0]
    for field in known[1:]:
        if len(field.sizes) != len(joined.sizes):
            return None
        joined = joined.joined(field)
    return joined


def _conv_window(layer, axes):
    pairs = zip(layer.kernel_size, layer.dilation_rate, strict=True)
    return [(size - 1) * dilation + 1 for size, dilation in pairs], layer.strides


def _transpose_window(layer, axes):
    taps = [
        math.ceil(((size - 1) * dilation + 1) / stride)
        for size, dilation, stride in zip(layer.kernel_size, layer.dilation_rate, layer.strides, strict=True)
    ]
    return taps, [Fraction(1, stride) for stride in layer.strides]


def _pool_window(layer, axes):
    return _tuple(layer.pool_size, axes), _tuple(layer.strides, axes)


def _upsampling_window(layer, axes):
    taps = 1 if getattr(layer, "interpolation", "nearest") == "nearest" else 2
    return (taps,) * axes, [Fraction(1, size) for size in _tuple(layer.size, axes)]


def _tuple(value, axes):
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _layers(names):
    return [getattr(keras.layers, name) for name in names.split() if hasattr(keras.layers, name)]


_WINDOWS = {
    **dict.fromkeys((*_CONVS, *_SEPARABLES), _conv_window),
    **dict.fromkeys(_TRANSPOSES, _transpose_window),
    **dict.fromkeys(
        _layers("AveragePooling1D AveragePooling2D AveragePooling3D MaxPooling1D MaxPooling2D MaxPooling3D"),
        _pool_window,
    ),
    **dict.fromkeys(_layers("UpSampling1D UpSampling2D UpSampling3D"), _upsampling_window),
}
_ALL_POSITIONS = _layers(
    "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D "
    "GlobalMaxPooling2D GlobalMaxPooling3D Flatten MultiHeadAttention GroupQueryAttention Attention "
    "AdditiveAttention LSTM GRU SimpleRNN Bidirectional GroupNormalization"
)
_POINTWISE = (
    *_DENSES,
    BatchNormalization,
    VariableSkip,
    *_layers(
        "BatchNormalization Activation ReLU LeakyReLU PReLU ELU Softmax Dropout SpatialDropout1D "
        "SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout GaussianNoise ActivityRegularization "
        "Identity Rescaling Normalization Add Subtract Multiply Average Maximum Minimum Concatenate "
        "ZeroPadding1D ZeroPadding2D ZeroPadding3D Cropping1D Cropping2D Cropping3D InputLayer"
    ),
)
_POINTWISE_OPS = (
    *("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Negative", "Maximum", "Minimum", "Concatenate"),
    *(
        "Relu",
        "Relu6",
        "LeakyRelu",
        "Elu",
        "Selu",
        "Gelu",
        "Silu",
        "Sigmoid",
        "HardSigmoid",
        "HardSilu",
        "Tanh",
    ),
    *("Softplus", "Exp", "Log", "Sqrt", "Square", "Power", "Abs", "Absolute", "Clip", "Cast", "Identity"),
)
