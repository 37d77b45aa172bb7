"""Multiply-accumulates of a model, layer by layer."""

import dataclasses
import math

import keras

from dirac_keras.errors import UserError
from dirac_keras.graph.functional import check_has_graph, has_graph
from dirac_keras.graph.layer_types import (
    CONVOLUTIONS,
    DENSE,
    RECURRENT,
    SEPARABLE_CONVOLUTIONS,
    TRANSPOSED_CONVOLUTIONS,
    is_from_keras,
    raw_operation_name,
)
from dirac_keras.graph.opened import open_call
from dirac_keras.graph.trace import trace


@dataclasses.dataclass(frozen=True)
class Costs:
    """Multiply-accumulates of one sample.

    Attributes:
        macs: dict, layer -> int, in the order of computation, without the layers that count 0.
        uncounted: tuple of str, layers whose multiply-accumulates are not known, or not all of them.
    """

    macs: dict
    uncounted: tuple

    @property
    def total(self):
        """Sum of what was counted: a lower bound if anything was not."""
        return sum(self.macs.values())

    def __str__(self):
        if not self.uncounted:
            return f"{self.total:,}"
        count = len(self.uncounted)
        return f">= {self.total:,}, {count} layer{'s' if count > 1 else ''} not counted"


def count_costs(model, input_shapes=None):
    """Multiply-accumulates of one sample, per layer, and the layers that could not be counted.

    Counted are convolutions, dense and recurrent layers, attention, products of tensors (`matmul`, `einsum`, ...), and
    all of them inside layers that hold layers. A bias, a normalization, an activation or a pooling multiplies no two
    tensors and counts 0. Not counted are layers of unknown code that cannot be read, and open sizes.

    Args:
        model: Functional or built Sequential model.
        input_shapes: list of shapes with the batch axis, one per input; None takes the model's own.

    Returns: `Costs`. Layers of nested models are named `model/layer`; the calls of a shared layer are summed.
    Raises: ValueError: if the model has no graph of layers.
    """
    macs, uncounted = {}, {}
    calls, batch = _calls(model, input_shapes)
    for call in calls:
        count, is_whole = _macs(call)
        if count:
            macs[call.path] = macs.get(call.path, 0) + count // batch
        if not is_whole:
            uncounted[call.path] = True
    return Costs(macs, tuple(uncounted))


def count_macs(model, input_shapes=None):
    """The `macs` of `count_costs`, where every layer could be counted at these sizes.

    Args:
        model, input_shapes: as `count_costs`.

    Returns: dict, layer name -> int, in the order of computation, without the layers that count 0.
    Raises: ValueError: if the model has no graph of layers, or its shapes are unknown and not given.
    """
    for call in _calls(model, input_shapes)[0]:
        if not _is_sized(call) and not _counts_nothing(call.operation):
            raise UserError(
                f"input_shapes must leave no size unknown. Received input_shapes={input_shapes}, with which "
                f"layer '{call.path}' maps {call.input_shapes} to {call.output_shapes}."
            )
    return count_costs(model, input_shapes).macs


def _calls(model, input_shapes):
    check_has_graph(model)
    if input_shapes is None:
        input_shapes = [(tensor.shape[0] or 1, *tensor.shape[1:]) for tensor in model.inputs]
    batch = input_shapes[0][0] if input_shapes else 1
    return [_with_batch(call, batch) for call in trace(model, input_shapes).calls], batch


def _with_batch(call, batch):
    """Put back the batch that `EinsumDense` forgets."""
    known = {
        side: [(batch, *shape[1:]) if len(shape) and shape[0] is None else shape for shape in getattr(call, side)]
        for side in ("input_shapes", "output_shapes")
    }
    return dataclasses.replace(call, **known)


def _is_sized(call):
    # `EinsumDense` forgets lengths of its output; its input and kernel tell all.
    shapes = (
        call.input_shapes
        if isinstance(call.operation, keras.layers.EinsumDense)
        else [*call.input_shapes, *call.output_shapes]
    )
    return all(length is not None for shape in shapes for length in shape)


def _macs(call):
    """`(multiply-accumulates of the whole batch, whether that is all of them)`."""
    operation = call.operation
    count = _rule(operation)
    if count is None and _counts_nothing(operation):
        return 0, True
    if not _is_sized(call):
        return 0, False
    if count is not None:
        return count(call)
    if has_graph(operation):  # called on inputs in another structure than its own, so `trace` left it closed
        return _of_model(operation, call.input_shapes)
    graph = open_call(call)
    if graph is None:
        return 0, False
    return _sum(_macs(_with_batch(inner, call.input_shapes[0][0])) for inner in graph.calls)


def _of_model(model, shapes):
    if len(shapes) != len(model.inputs):
        return 0, False
    costs = count_costs(model, shapes)
    return shapes[0][0] * costs.total, not costs.uncounted


def _sum(counts):
    total, is_whole = 0, True
    for count, whole in counts:
        total, is_whole = total + count, is_whole and whole
    return total, is_whole


def _counts_nothing(operation):
    """Of Keras or ours, and without a matrix among its weights; `_PRODUCTS` multiply two tensors without one."""
    if not isinstance(operation, keras.layers.Layer):
        return is_from_keras(operation) and type(operation).__name__ not in _UNKNOWN_OPS and _rule(operation) is None
    is_known = is_from_keras(operation) or type(operation).__module__.split(".")[0] == "dirac_keras"
    if not is_known or isinstance(operation, _PRODUCTS) or _rule(operation) is not None or has_graph(operation):
        return False
    return type(operation) in _TABLES or not any(len(weight.shape) > 1 for weight in operation.weights)


def _rule(operation):
    if isinstance(operation, _HEADS):  # keras-hub's are subclasses with a cache
        return _exact(_multi_head_macs)
    return _MACS.get(type(operation), _MACS.get(raw_operation_name(operation)))


def _exact(count):
    return lambda call: (count(call), True)


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
    return _einsum(call.operation.equation, [call.input_shapes[0], tuple(call.operation.kernel.shape)])


def _einsum(equation, shapes):
    """The product of all index lengths: each combination is one multiplication."""
    lengths, rest = {}, 1
    for letters, shape in zip(equation.replace(" ", "").split("->")[0].split(","), shapes, strict=True):
        front, dots, back = letters.partition("...")
        lengths |= zip(front, shape[: len(front)], strict=True)
        lengths |= zip(back, shape[len(shape) - len(back) :], strict=True)
        if dots:  # the axes that have no letter, broadcast against the others'
            rest = max(rest, math.prod(shape[len(front) : len(shape) - len(back)]))
    return rest * math.prod(lengths.values())


def _recurrent_macs(call):
    cell = call.operation.cell
    batch, steps = call.input_shapes[0][:2]
    count, is_whole = _cell_macs(cell)
    return batch * steps * count, is_whole


def _cell_macs(cell):
    """Of one step of one sample."""
    if isinstance(cell, keras.layers.StackedRNNCells):
        return _sum(_cell_macs(each) for each in cell.cells)
    if type(cell) in _CELLS:
        return math.prod(cell.kernel.shape) + math.prod(cell.recurrent_kernel.shape), True
    return 0, False


def _recurrent_conv_macs(call):
    """Each step: a convolution of the input, and one of the state, which has the size of the output."""
    layer, inputs = call.operation, call.input_shapes[0]
    cell = layer.cell
    # The state's size: that of the output, with whatever `return_sequences` puts before.
    rank = len(inputs) - 3
    output = call.output_shapes[0]
    positions = math.prod(output[-rank:] if layer.data_format == "channels_first" else output[-rank - 1 : -1])
    weights = math.prod(cell.kernel.shape) + math.prod(cell.recurrent_kernel.shape)
    return inputs[0] * inputs[1] * positions * weights


def _bidirectional_macs(call):
    layer = call.operation
    return _sum(_inner(call, part, call.input_shapes[0]) for part in (layer.forward_layer, layer.backward_layer))


def _time_distributed_macs(call):
    batch, steps, *shape = call.input_shapes[0]
    count, is_whole = _inner(call, call.operation.layer, (batch, *shape))
    return steps * count, is_whole


def _inner(call, layer, shape):
    """Of one layer inside another, called on a tensor of this shape."""
    if has_graph(layer):
        return _of_model(layer, [shape])
    inputs = keras.Input(batch_shape=shape, dtype=call.input_dtypes[0])
    outputs = keras.tree.flatten(layer.compute_output_spec(inputs))
    inner = dataclasses.replace(
        call,
        operation=layer,
        args=(inputs,),
        kwargs={},
        slots=[inputs],
        inputs=call.inputs[:1],
        input_shapes=[shape],
        input_dtypes=call.input_dtypes[:1],
        output_shapes=[tuple(output.shape) for output in outputs],
    )
    return _macs(_with_batch(inner, shape[0]))


def _operand_shapes(call):
    """Shapes of all tensors that an operation takes, weights and constants too."""
    operands = keras.tree.flatten((call.args, call.kwargs))
    return [tuple(operand.shape) for operand in operands if hasattr(operand, "shape")]


def _matmul_macs(call):
    return math.prod(call.output_shapes[0]) * _operand_shapes(call)[0][-1]


def _dot_macs(call):
    """`keras.layers.Dot`: the axes of the first input that are summed over."""
    axes = call.operation.axes
    axis = axes[0] if isinstance(axes, (list, tuple)) else axes
    return math.prod(call.output_shapes[0]) * call.input_shapes[0][axis]


def _contraction_macs(call):
    """Products over axes that the operands share and the output has not: sizes of operands and output tell them."""
    first, second = _operand_shapes(call)[:2]
    sizes = math.prod(first) * math.prod(second) * math.prod(call.output_shapes[0])
    return math.isqrt(sizes)  # (m k) (k n) (m n) = (m k n)^2


def _einsum_op_macs(call):
    equation, *_ = [value for value in (*call.args, getattr(call.operation, "subscripts", None)) if type(value) is str]
    shapes = _operand_shapes(call)
    return (_einsum(equation, shapes), len(shapes) <= 2) if len(shapes) > 1 else (0, True)


def _attention_macs(call):
    """Scores of each query with each key, and the sum of the values: `(batch, length, heads, size)`."""
    query, key, value = _operand_shapes(call)[:3]
    return query[0] * query[1] * key[1] * query[2] * (query[3] + value[3])


def _multi_head_macs(call):
    """The four projections, the scores of each query with each key, and the sums of the values."""
    layer = call.operation
    query, value = (_argument(call, index, name) for index, name in enumerate(("query", "value")))
    key = _argument(call, 2, "key") or value
    is_grouped = isinstance(layer, keras.layers.GroupQueryAttention)
    heads, shared = (layer.num_query_heads, layer.num_key_value_heads) if is_grouped else (layer.num_heads,) * 2
    key_dim, value_dim = (layer.head_dim,) * 2 if is_grouped else (layer.key_dim, layer.value_dim)
    projections = (
        math.prod(query) * heads * key_dim
        + math.prod(key) * shared * key_dim
        + math.prod(value) * shared * value_dim
        + math.prod(call.output_shapes[0]) * heads * value_dim
    )
    axes = layer.get_config().get("attention_axes") or range(1, len(query) - 1)
    keys = math.prod(value[axis] for axis in axes)
    return projections + math.prod(query[:-1]) * keys * heads * (key_dim + value_dim)


def _argument(call, index, name):
    """Shape of a tensor that a call takes by place or by name; None if it takes none."""
    tensor = call.args[index] if index < len(call.args) else call.kwargs.get(name)
    return None if tensor is None else tuple(tensor.shape)


def _additive_attention_macs(call):
    """A weight for each number of query + key, and the sum of the values: `(batch, length, size)`."""
    query, value, *key = call.input_shapes
    return query[0] * query[1] * value[1] * ((key[0] if key else value)[2] * call.operation.use_scale + value[2])


def _conv_op_macs(call):
    kernel = _operand_shapes(call)[1]
    output, layer = call.output_shapes[0], call.operation
    return output[0] * _spatial(output, layer) * math.prod(kernel)


def _conv_transpose_op_macs(call):
    shape, kernel = _operand_shapes(call)[:2]
    return shape[0] * _spatial(shape, call.operation) * math.prod(kernel)


def _separable_op_macs(call):
    _, depthwise, pointwise = _operand_shapes(call)[:3]
    output = call.output_shapes[0]
    return output[0] * _spatial(output, call.operation) * (math.prod(depthwise) + math.prod(pointwise))


def _layers(names):
    return tuple(getattr(keras.layers, name) for name in names.split() if hasattr(keras.layers, name))


_CELLS = (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell)
_HEADS = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
_TABLES = (keras.layers.Embedding, keras.layers.PReLU)  # a matrix of weights that is looked up, or multiplied singly
# Without a matrix among their weights, and yet products of tensors, or another's code.
_PRODUCTS = _layers(
    "Attention MelSpectrogram STFTSpectrogram Lambda TFSMLayer JaxLayer FlaxLayer TorchModuleWrapper Pipeline"
)
_UNKNOWN_OPS = (
    *("FFT", "FFT2", "IFFT2", "RFFT", "IRFFT", "STFT", "ISTFT", "Correlate", "Cross", "Kron", "Outer", "Vdot"),
    *("Cholesky", "CholeskyInverse", "Det", "Eig", "Eigh", "Inv", "Lstsq", "Pinv", "QR", "Qr", "SVD", "Solve"),
    *("SolveTriangular", "Map", "Scan", "AssociativeScan", "WhileLoop", "VectorizedMap", "Cond", "Switch", "ForiLoop"),
)
_MACS = {
    **dict.fromkeys(CONVOLUTIONS, _exact(_conv_macs)),
    **dict.fromkeys(SEPARABLE_CONVOLUTIONS, _exact(_separable_macs)),
    **dict.fromkeys(TRANSPOSED_CONVOLUTIONS, _exact(_transpose_macs)),
    **dict.fromkeys(DENSE, _exact(_dense_macs)),
    **dict.fromkeys((*RECURRENT, keras.layers.RNN), _recurrent_macs),
    **dict.fromkeys(
        (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D), _exact(_recurrent_conv_macs)
    ),
    keras.layers.Bidirectional: _bidirectional_macs,
    keras.layers.TimeDistributed: _time_distributed_macs,
    keras.layers.EinsumDense: _exact(_einsum_dense_macs),
    keras.layers.Dot: _exact(_dot_macs),
    keras.layers.AdditiveAttention: _exact(_additive_attention_macs),
    "Matmul": _exact(_matmul_macs),
    "Dot": _exact(_contraction_macs),
    "Tensordot": _exact(_contraction_macs),
    "Inner": _exact(_contraction_macs),
    "Einsum": _einsum_op_macs,
    "DotProductAttention": _exact(_attention_macs),
    "Conv": _exact(_conv_op_macs),
    "DepthwiseConv": _exact(_conv_op_macs),
    "SeparableConv": _exact(_separable_op_macs),
    "ConvTranspose": _exact(_conv_transpose_op_macs),
}
