"""The steps of a network: what each layer does to channels that are carried through it; and the layers made of them."""

import dataclasses
import itertools

import keras
import numpy as np

from dirac_keras.conversion.activations import activation_of, function_of, is_activation
from dirac_keras.folding.branches.reading import Inexact, is_dense, pairs_of, spans_of, spread, window_of
from dirac_keras.folding.branches.tree import factor_of_one, factors_of, has_constants
from dirac_keras.folding.branches.window import Window
from dirac_keras.folding.copies import make_again
from dirac_keras.folding.passages import passage_of
from dirac_keras.folding.passages.elementwise import Linear, Product
from dirac_keras.folding.passages.unchanged import Unchanged
from dirac_keras.folding.refused import Refused
from dirac_keras.folding.rules import (
    ConvRule,
    DenseRule,
    EinsumDenseRule,
    Rules,
    SeparableConvRule,
    is_batch_normalization,
)
from dirac_keras.graph.layer_types import TRANSPOSED_CONVOLUTIONS, is_keras_op

NO_KERNEL = "has no kernel that could carry channels through it"
_fresh = itertools.count(-1, -1)  # numbers of tensors that no traced graph has


def new_tensor():
    return next(_fresh)


@dataclasses.dataclass(eq=False)
class Step:
    """One layer or operation of a network that is being rebuilt.

    `kind` is one of

    | kind | what it does |
    |---|---|
    | `"linear"` | a convolution or dense layer, with its activation if it has one |
    | `"scale"` | a scale and a shift for each channel |
    | `"separable"` | a depthwise convolution, then a 1x1, in one layer, with its activation if it has one |
    | `"pad"` | zeros around the image, or taking its border off |
    | `"pick"` | every so many pixels |
    | `"activation"` | a function of each number |
    | `"nothing"` | its input, at inference |
    | `"sum"` | an addition of tensors |
    | `"other"` | anything else |

    Args:
        name: str, path of the layer.
        inputs, outputs: lists of tensors, by number.
        call: `trace.Call` that is repeated as it is; None for a layer that is made anew.
        layer: the layer or operation; None for a linear one that is added.
        window: `Window` of linear steps, and of those that keep channels apart.
        activation: `Activation`, also of a linear layer; None if it has none or an unknown one.
        has_activation: bool.
        slopes: float64 array, alpha of a PReLU, with one for each channel.
        axis, rank: of the channels; number of spatial axes.
        sizes: spatial sides of the input.
        why_other: str, why its kind is "other".
    """

    kind: str
    name: str
    inputs: list
    outputs: list
    call: object = None
    layer: object = None
    window: Window | None = None
    activation: object = None
    has_activation: bool = False
    slopes: np.ndarray | None = None
    axis: int = -1
    rank: int = 0
    sizes: tuple = ()
    dtype: object = None
    why_other: str = ""

    @property
    def is_dense(self):
        """Whether all outputs read all inputs."""
        return self.kind == "linear" and self.window.groups == 1

    @property
    def takes_groups(self):
        """Whether its layer is of a kind that may read its inputs in groups: a dense layer reads all."""
        return self.kind == "linear" and self.rank > 0 and not is_dense(Rules().of(self.layer))

    @property
    def is_linear(self):
        """Whether it is a linear function of its input."""
        return self.window is not None and not self.has_activation and self.kind != "activation"

    def changed(self, **values):
        """A step that is made anew, with other values."""
        return dataclasses.replace(self, call=None, **values)


def steps_of(graph, axes):
    """List of `Step` of a `Graph`, in its order.

    Args:
        axes: dict, tensor -> axis of its channels.
    """
    rules = Rules()
    return [step for call in graph.calls for step in _steps(graph, call, rules, axes)]


def _steps(graph, call, rules, axes):
    """The steps of a call: of a sum with factors, those too."""
    step = Step(
        "other", call.path, list(call.inputs), list(call.outputs), call=call, layer=call.operation,
        dtype=getattr(call.operation, "dtype_policy", None),
    )  # fmt: skip
    factors = None if has_constants(call) else factors_of(graph, call)
    if factors is not None and call.output_shapes[0][axes[call.outputs[0]]] is not None:
        return _as_sum(step, factors, axes[call.outputs[0]])
    if is_keras_op(call.operation, "Add") and len(set(call.inputs)) > 1:
        step.why_other = _why_no_sum(call)
        return [step]
    return [_step(step, graph, rules, axes)]


def _step(step, graph, rules, axes):
    call, operation = step.call, step.layer
    if len(set(call.inputs)) != 1 or len(call.outputs) != 1:
        step.why_other = "reads or gives several tensors"
        return step
    step.axis, shape = axes[call.outputs[0]], call.output_shapes[0]
    step.rank = len(shape) - 2
    if len(graph.calls_of[id(operation)]) > 1 and getattr(operation, "weights", None):  # without any it is made again
        step.why_other = "is shared: it is called in several places"
        return step
    if len(call.inputs) > 1:  # `x + x`
        if (factor := factor_of_one(call)) is None or shape[step.axis] is None:
            step.why_other = "reads a tensor several times"
            return step
        return _multiple(step, factor, shape[step.axis], call.inputs[0], call.outputs[0])
    if len(shape) < 2 or len(call.input_shapes[0]) != len(shape):
        step.why_other = "changes the number of axes"
        return step
    step.sizes = tuple(n for place, n in enumerate(call.input_shapes[0]) if place not in (0, step.axis))
    if is_activation(operation):
        step.kind, step.activation, step.has_activation = "activation", activation_of(operation), True
    if type(operation) is keras.layers.PReLU:
        slopes = keras.ops.convert_to_numpy(operation.alpha).astype("float64")
        step.slopes = np.repeat(slopes, (shape[step.axis] or 1) // slopes.shape[step.axis - 1], step.axis - 1)
    if step.kind == "activation":
        return step
    try:
        step.window = window_of(call, rules, step.axis, with_activation=True)
    except Refused as refused:
        is_known = isinstance(refused, Inexact) or isinstance(passage_of(operation), (Linear, Product))
        step.why_other = _why_no_rule(operation) or (str(refused) if is_known else NO_KERNEL)
        return step
    return _of_window(step, operation, rules)


def _why_no_rule(layer):
    """Of a linear layer that is no window, or None."""
    if type(layer) in TRANSPOSED_CONVOLUTIONS:
        return "is a transposed convolution, through which there is no rule to carry channels"
    if isinstance(layer, (keras.layers.UpSampling1D, keras.layers.UpSampling2D, keras.layers.UpSampling3D)):
        return "makes more pixels than it reads, through which there is no rule to carry channels"
    return None


def _why_no_sum(call):
    if has_constants(call):
        return "adds a constant too"
    if len({*call.input_shapes, call.output_shapes[0]}) > 1:
        return "adds tensors of different shapes"
    return "adds integers"


def _as_sum(step, factors, axis):
    """An addition, and before it a multiplication for each tensor that has another factor than 1."""
    step.kind, step.axis, call = "sum", axis, step.call
    if set(factors.values()) == {1.0} and len(factors) == len(call.inputs):
        return [step]
    step.rank = len(call.output_shapes[0]) - 2
    step.call, step.inputs, step.dtype = None, [], _policy(call)
    step.layer = keras.layers.Add(name=step.layer.name, dtype=step.dtype)
    steps = []
    for tensor, factor in factors.items():
        if factor != 1.0:
            steps.append(_multiple(step.changed(), factor, call.output_shapes[0][axis], tensor, new_tensor()))
            steps[-1].name += f"_factor{len(steps)}"
            steps[-1].layer.name = f"{step.layer.name}_factor{len(steps)}"
        step.inputs.append(tensor if factor == 1.0 else steps[-1].outputs[0])
    return [*steps, step]


def _multiple(step, factor, channels, tensor, output):
    layer = keras.layers.Rescaling(factor, name=step.layer.name, dtype=_policy(step.call) if step.call else step.dtype)
    window = Window.scaling(np.full(channels, factor), np.zeros(channels), step.rank)
    return step.changed(kind="scale", inputs=[tensor], outputs=[output], layer=layer, window=window)


def _policy(call):
    return getattr(call.operation, "dtype_policy", None) or call.output_dtypes[0]


def _of_window(step, operation, rules):
    window = step.window
    if isinstance(passage_of(operation), Unchanged):
        step.kind = "nothing"
    elif hasattr(operation, "kernel") or isinstance(rules.of(operation), SeparableConvRule):
        step.kind = "linear" if hasattr(operation, "kernel") else "separable"
        function = getattr(operation, "activation", None)
        step.has_activation = function not in (None, keras.activations.linear)
        step.activation = function_of(function) if step.has_activation else None
    elif is_batch_normalization(operation) or isinstance(passage_of(operation), (Linear, Product)):
        step.kind = "scale"
    elif set(window.strides) <= {1} and set(window.taps) <= {1} and np.all(window.kernel == 1.0):
        step.kind = "pad"
    elif set(window.taps) <= {1} and not window.is_padded:
        step.kind = "pick"
    else:
        step.why_other = "mixes pixels and has no kernel for the carried channels"
    return step


def output_size(step, size):
    """The side that one spatial axis has behind a step, axis by axis: `size` is a tuple."""
    window = step.window
    if step.kind == "pad":
        layer, sign = step.layer, -1 if hasattr(step.layer, "cropping") else 1
        pads = pairs_of(layer.cropping if sign < 0 else layer.padding)
        return tuple(n + sign * (low + high) for n, (low, high) in zip(size, pads, strict=True))
    mode = getattr(step.layer, "padding", "valid") if step.layer is not None else "valid"
    spans = spans_of(step.layer) if hasattr(step.layer, "padding") else window.taps
    if mode == "valid":
        return tuple((n - span) // stride + 1 for n, span, stride in zip(size, spans, window.strides, strict=True))
    return tuple(-(-n // stride) for n, stride in zip(size, window.strides, strict=True))


# Layers ---------------------------------------------------------------------------------------------------
def layer_of(step):
    """The Keras layer of a step that is made anew, and its weights: `(layer, list of arrays)`."""
    if step.kind == "linear":
        return _added(step) if step.layer is None else _linear(step)
    if step.kind == "scale":
        is_as_it_was = isinstance(step.layer, keras.layers.Rescaling) and _is_multiple(step.window, step.layer.scale)
        return (make_again(step.layer), []) if is_as_it_was else _normalization(step)
    if step.slopes is not None:
        return _prelu(step), [step.slopes]
    return make_again(step.layer), []


def _added(step):
    window = step.window
    name = step.name
    bias = bool(np.any(window.bias))
    weights = [window.bias] if bias else []
    if not step.rank:
        layer = keras.layers.Dense(window.channels[1], use_bias=bias, name=name, dtype=step.dtype)
        return layer, [window.kernel, *weights]
    kind = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)[step.rank - 1]
    data_format = "channels_first" if step.axis == 1 else "channels_last"
    layer = kind(
        window.channels[1], window.taps, padding="valid" if set(window.taps) <= {1} else "same", use_bias=bias,
        data_format=data_format, name=name, dtype=step.dtype,
    )  # fmt: skip
    return layer, [window.kernel, *weights]


def _linear(step):
    window, layer = step.window, step.layer
    rule = Rules().of(layer)
    rule.has_new_kernel = True
    rule.bias = window.bias if np.any(window.bias) or rule.bias is not None else None
    if isinstance(rule, EinsumDenseRule):
        rule.set_dense(window.kernel.reshape(window.kernel.shape[-2:]), window.bias)
        return rule.make_layer(), rule.weights()
    if isinstance(rule, DenseRule):
        rule.kernel = window.kernel.reshape(window.kernel.shape[-2:])
        rule.overrides = {"units": window.channels[1]}
        return rule.make_layer(), rule.weights()
    kernel = window.kernel[tuple(slice(None, None, rate) for rate in layer.dilation_rate)]
    frame = {}
    if kernel.shape[:-2] != tuple(layer.kernel_size):  # one that has grown, which a 1x1 does with either padding
        padding = "same" if layer.padding == "valid" else layer.padding
        frame = {"kernel_size": kernel.shape[:-2], "padding": padding}
    if isinstance(rule, ConvRule):
        rule.kernel = kernel
        rule.overrides = {"filters": window.channels[1], "groups": window.groups} | frame
        return rule.make_layer(), rule.weights()
    inputs = window.channels[0]
    if window.groups == inputs:
        rule.kernel = kernel.reshape(*kernel.shape[:-2], inputs, -1)
        return rule.make_layer(), rule.weights()
    rule.kernel = kernel  # a depthwise layer among more channels than its own
    known = rule.config()
    names = ("name", "trainable", "dtype", "kernel_size", "strides", "padding", "data_format", "dilation_rate")
    config = {key: known[key] for key in (*names, "activation", "use_bias") if key in known}
    kind = keras.layers.Conv1D if step.rank == 1 else keras.layers.Conv2D
    return kind.from_config(config | {"filters": window.channels[1], "groups": window.groups} | frame), rule.weights()


def parts_of(step, new_name):
    """A separable convolution as two steps, one behind the other, their tensors left open."""
    layer, window, rule = step.layer, step.window, Rules().of(step.layer)
    *taps, channels, multiplier = rule.depthwise.shape
    shape = [None, *step.sizes]
    shape.insert(step.axis, channels)
    names = ("kernel_size", "strides", "padding", "dilation_rate", "data_format")
    arguments = {name: getattr(layer, name) for name in names}
    arguments |= {"use_bias": False, "name": new_name(f"{layer.name}_depthwise"), "dtype": layer.dtype_policy}
    kinds = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
    first = kinds[step.rank - 1](depth_multiplier=multiplier, **arguments)
    first.build(tuple(shape))
    kernel = spread(rule.depthwise.reshape(*taps, 1, -1), layer.dilation_rate)
    apart = Window(kernel, np.zeros(kernel.shape[-1]), window.strides, window.before, window.is_padded, channels)
    ones, kinds = (1,) * step.rank, (keras.layers.Conv1D, keras.layers.Conv2D)
    second = kinds[step.rank - 1](
        window.channels[1], 1, data_format=layer.data_format, activation=layer.activation, name=layer.name,
        dtype=layer.dtype_policy,
    )  # fmt: skip
    shape[step.axis] = channels * multiplier
    second.build(tuple(shape))
    mixing = Window(rule.pointwise.reshape(*ones, -1, window.channels[1]), window.bias, ones, (0,) * step.rank, False)
    return [
        step.changed(kind="linear", layer=first, window=apart, activation=None, has_activation=False),
        step.changed(kind="linear", layer=second, window=mixing, sizes=(None,) * step.rank),
    ]


def _is_multiple(window, factor):
    return not np.any(window.bias) and bool(np.all(window.kernel == factor))


def _prelu(step):
    """With a slope for each channel: those carried have another one than its own."""
    config = step.layer.get_config()
    config["shared_axes"] = [axis for axis in config["shared_axes"] or () if axis != step.axis] or None
    return keras.layers.PReLU.from_config(config)


def _normalization(step):
    window = step.window
    layer = keras.layers.BatchNormalization(axis=step.axis, name=step.layer.name, dtype=step.dtype)
    scale = window.kernel.reshape(-1)
    zeros = np.zeros_like(scale)
    return layer, [scale * np.sqrt(1.0 + layer.epsilon), window.bias, zeros, np.ones_like(scale)]
