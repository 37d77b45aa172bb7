"""What one position of a layer's output sees of the input."""

import math
from fractions import Fraction

import keras

from dirac_keras.graph.layer_types import (
    CONVOLUTIONS,
    DENSE,
    SEPARABLE_CONVOLUTIONS,
    TRANSPOSED_CONVOLUTIONS,
    is_from_keras,
    raw_operation_name,
)
from dirac_keras.graph.trace import trace
from dirac_keras.layers import BatchNormalization, Gelu, VariableSkip, WhitenedConv2D


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
    found = _fields(model)
    values = {name: field.lengths() if isinstance(field, _Field) else field for name, field in found.items()}
    return {name: None if value is NOWHERE else value for name, value in values.items()}


def strides_of(model):
    """How many positions of the input lie between neighbours of each layer's output.

    Args:
        model: Functional or built Sequential model.

    A layer of unknown type that gives as many places as it reads, as one that scales channels, is taken to keep them.

    Returns: dict, layer name -> tuple of numbers, one a spatial axis, a fraction behind an upsampling; None where it is
        not defined. In the order of the network.
    Raises: ValueError: if the model has no graph of layers.
    """
    found = _fields(model, by_shape=True)
    return {name: _numbers(field.jumps) if isinstance(field, _Field) else None for name, field in found.items()}


def places_lost(model):
    """Names of the layers of unknown type behind which strides are not known, the first of every way."""
    graph, lost = trace(model), []
    found = _fields(model, by_shape=True)
    for call in graph.calls:
        readers = [graph.producer[tensor].path for tensor in call.inputs if tensor in graph.producer]
        if call.inputs and found[call.path] is None and all(found[name] is not None for name in readers):
            lost.append(call.path)
    return list(dict.fromkeys(lost))


def _numbers(fractions):
    return tuple(int(one) if one.denominator == 1 else float(one) for one in fractions)


def _fields(model, by_shape=False):
    """Dict, layer name -> `_Field`, `"all"`, `NOWHERE` or None."""
    graph = trace(model)
    spatial_axes = [len(tensor.shape) - 2 for tensor in model.inputs]  # all but batch and channels
    fields = {
        tensor: _Field.of_pixel(axes) if axes > 0 else NOWHERE
        for tensor, axes in zip(graph.inputs, spatial_axes, strict=True)
    }
    named = {}
    for call in graph.calls:
        read = [fields.get(tensor) for tensor in call.inputs]
        field = _field(call, read)
        if field is None and by_shape and isinstance(before := _joined(read), _Field):
            field = before.of_all() if _gives_as_many(call, len(before.sizes)) else None
        for tensor in call.outputs:
            fields[tensor] = field
        named[call.path] = field
    return named


# Receptive fields -----------------------------------------------------------------------------------------
_STAND_IN = 64  # for a side that is open
NOWHERE = "nowhere"  # the field of an input without places, and of what is made of it alone


class _Field:
    """Per spatial axis: how many pixels are seen, infinite for all, and how many pixels lie between neighbours."""

    def __init__(self, sizes, jumps):
        self.sizes, self.jumps = sizes, jumps

    @classmethod
    def of_pixel(cls, axes):
        return cls((Fraction(1),) * axes, (Fraction(1),) * axes)

    def lengths(self):
        return "all" if math.inf in self.sizes else tuple(math.ceil(size) for size in self.sizes)

    def widened(self, taps, strides):
        """Behind a window of `taps` neighbours that moves by `strides`, 1 / s where it makes s of one."""
        sizes = (size + (tap - 1) * jump for size, jump, tap in zip(self.sizes, self.jumps, taps, strict=True))
        jumps = (jump * stride for jump, stride in zip(self.jumps, strides, strict=True))
        return _Field(tuple(sizes), tuple(jumps))

    def of_all(self):
        """Places that see everything, where they are."""
        return _Field((math.inf,) * len(self.sizes), self.jumps)

    def joined(self, other):
        pairs = zip(self.sizes, other.sizes, strict=True), zip(self.jumps, other.jumps, strict=True)
        return _Field(*(tuple(max(pair) for pair in axis) for axis in pairs))


def _field(call, inputs):
    field = _joined(inputs)
    layer = call.operation
    if not isinstance(field, _Field):
        return field
    if type(layer) in KEEPING_PLACES:
        return field.of_all()
    if type(layer) in ALL_POSITIONS or (raw_operation_name(layer) in _REDUCTIONS and _reduces_places(call, field)):
        return "all"
    if type(layer) in WINDOWS:
        taps, strides = WINDOWS[type(layer)](layer, len(field.sizes))
        return field.widened(taps, strides) if len(taps) == len(field.sizes) else None
    if is_pointwise(layer, len(field.sizes)) or _keeps_places(call, len(field.sizes)):
        return field
    return field.of_all() if type(layer) is keras.layers.LayerNormalization else None


def _gives_as_many(call, axes):
    """Whether the output has the places of the input; of open sizes those are asked for that stand in for them."""
    before, after = call.input_shapes[0], call.output_shapes[0]
    if len(call.inputs) != 1 or len(call.outputs) != 1 or not len(before) == len(after) == axes + 2:
        return False
    if None in before[1:]:
        given = [2, *(_STAND_IN + place if side is None else side for place, side in enumerate(before[1:]))]
        try:
            after = call.operation.compute_output_spec(keras.KerasTensor(given, call.input_dtypes[0])).shape
        except Exception:  # of whatever kind: the layer's own code
            return False
        before = given
    front, back = slice(1, 1 + axes), slice(2, 2 + axes)  # channels come last, or first and stay as many
    return tuple(before[front]) == tuple(after[front]) or (
        before[1] == after[1] and tuple(before[back]) == tuple(after[back])
    )


def _reduces_places(call, field):
    """Whether a mean or the like is over axes of places; over that of the channels it is none of them."""
    return bool({*_axes(call)} & {*range(1, 1 + len(field.sizes))})


def _axes(call):
    """The axes of a raw operation, from 0."""
    axis, rank = call.operation.axis, len(call.input_shapes[0])
    return range(rank) if axis is None else [one % rank for one in ([axis] if isinstance(axis, int) else axis)]


def _keeps_places(call, axes):
    """Whether an operation leaves the places where they are, and moves or takes channels, which come last, alone."""
    name, rank = type(call.operation).__name__, len(call.input_shapes[0])
    if len(call.inputs) != 1 or not is_from_keras(call.operation) or rank < axes + 2:
        return False
    front = range(1, 1 + axes)
    if name == "Reshape":
        before, after = (shape[1 : 1 + axes] for shape in (call.input_shapes[0], call.output_shapes[0]))
        return None not in before and before == after
    if name == "Permute":
        return call.operation.dims[:axes] == tuple(front)
    if name == "Transpose":
        return call.operation.axes is not None and tuple(call.operation.axes[: 1 + axes]) == (0, *front)
    if name == "Split" or name in _REDUCTIONS:
        return min(_axes(call)) > axes
    return False


def is_pointwise(operation, axes):
    """Whether one position of the output sees one position of the input, padding and cropping apart.

    Args:
        operation: layer or raw operation.
        axes: int, spatial axes.
    """
    if type(operation) is keras.layers.LayerNormalization:
        return operation.axis in (-1, [-1], [axes + 1])
    return type(operation) in _POINTWISE or (raw_operation_name(operation) or "") in _POINTWISE_OPS


def _joined(inputs):
    """The field of tensors that meet; of what has no places in it, as a second input, nothing counts beside others."""
    known = [field for field in inputs if field is not NOWHERE]
    if not known or None in known:
        return None if known or not inputs else NOWHERE
    places = [field for field in known if field != "all"]
    if not places:
        return "all"
    joined = places[0]
    for field in places[1:]:
        if len(field.sizes) != len(joined.sizes):
            return None
        joined = joined.joined(field)
    return joined.of_all() if "all" in known else joined  # as a gate that is made of a global mean


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
    taps = max(1, 2 * interpolation_radius(layer))
    return (taps,) * axes, [Fraction(1, size) for size in _tuple(layer.size, axes)]


def interpolation_radius(layer):
    """How far an `UpSampling` layer looks from where a position lies in its input, pixels: see `RADII`."""
    return RADII[getattr(layer, "interpolation", "nearest")]


# Interpolation -> radius of its kernel: pixels that are nearer count. Nearest takes one, wherever it lies.
RADII = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}


def _tuple(value, axes):
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _layers(names):
    return [getattr(keras.layers, name) for name in names.split() if hasattr(keras.layers, name)]


WINDOWS = {
    **dict.fromkeys((*CONVOLUTIONS, WhitenedConv2D, *SEPARABLE_CONVOLUTIONS), _conv_window),
    **dict.fromkeys(TRANSPOSED_CONVOLUTIONS, _transpose_window),
    **dict.fromkeys(
        _layers("AveragePooling1D AveragePooling2D AveragePooling3D MaxPooling1D MaxPooling2D MaxPooling3D"),
        _pool_window,
    ),
    **dict.fromkeys(_layers("UpSampling1D UpSampling2D UpSampling3D"), _upsampling_window),
}


ALL_POSITIONS = _layers(
    "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D "
    "GlobalMaxPooling2D GlobalMaxPooling3D Flatten MultiHeadAttention GroupQueryAttention Attention "
    "AdditiveAttention LSTM GRU SimpleRNN Bidirectional GroupNormalization"
)
KEEPING_PLACES = _layers("GroupNormalization")  # of them: what they give is where it was
_REDUCTIONS = ("Mean", "Sum", "Max", "Amax", "Min", "Amin", "Var", "Std")


_POINTWISE = (
    *DENSE,
    BatchNormalization,
    Gelu,
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
