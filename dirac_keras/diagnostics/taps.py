"""Where a network is measured: the response of the units of every layer that has a kernel, layer by layer."""

import contextlib
import re
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import ops

from dirac_keras.errors import UserError
from dirac_keras.graph.execution import apply_call
from dirac_keras.graph.functional import has_graph
from dirac_keras.graph.trace import trace


@dataclass(frozen=True)
class Activation:
    """A non-linearity: its name, its bounds (None: open), and whether a unit that is 0 passes no gradient."""

    name: str
    bounds: tuple = (None, None)
    can_die: bool = False


@dataclass(frozen=True, eq=False)
class Tap:
    """One call of a layer with a kernel, and the tensor that holds its units' response.

    The response is what follows the layer, its normalization and its non-linearity, as far as each follows directly:
    nothing else reads the tensors between. Dropout, max-pooling and zero padding may lie between, which leave the
    units as they are; a pooling or padding counts only where a non-linearity comes behind it, as in a DiracNet
    between two groups.
    """

    name: str  # path of the layer; the second call of a shared layer is `path#2`
    layers: tuple  # paths from the layer with the kernel to the last one before the response
    activation: Activation
    normalization: str  # class of the normalization between the layer and the non-linearity; "" if there is none
    units: int
    is_output: bool  # the classifier's: no layer with a kernel comes behind it, only pooling and reshaping
    layer: object = field(repr=False)
    tensor: int = field(repr=False)  # number in the graph
    unit_axis: int = field(repr=False)

    def matrix(self, response):
        """A response of any layout as `(samples, positions, units)` of float32 or float64."""
        values = np.moveaxis(to_numpy(response), self.unit_axis, -1)
        return values.reshape(len(values), -1, values.shape[-1])


class Network:
    """A model as calls that are run one after the other, so that only the tensors still needed are held.

    Args:
        model: Functional or built Sequential `keras.Model`, of any layers, with nested models. It is not changed.

    Attributes:
        taps: list of `Tap` in the order of computation.
        unmeasured: list of `(layer path, reason)`: layers with weights whose units have no known response.

    Raises: ValueError: if the model is not built, has no graph of layers, or no weights.
    """

    def __init__(self, model):
        _check_model(model)
        self.model = model
        self.graph = trace(model)
        self.taps, self.unmeasured = _find_taps(self.graph)
        self._last_use = {tensor: k for k, call in enumerate(self.graph.calls) for tensor in call.inputs}
        self._last_use.update(dict.fromkeys(self.graph.outputs, len(self.graph.calls)))

    def run(self, inputs, visit=None, until=None, training=()):
        """The model's outputs at inference, with a visit to every tap on the way.

        Args:
            inputs: list of arrays, as `batches` gives them.
            visit: function `(tap, response)`, with the tensor in the layout of the layer. What it returns takes the
                place of the response; None leaves it.
            until: `Tap` after which nothing more is computed; None runs to the end.
            training: tuple of layer classes that are called with `training=True`.

        Returns: list of output tensors, or None if `until` came first.
        """
        taps = {tap.tensor: tap for tap in self.taps}
        pairs = zip(self.graph.inputs, inputs, self.model.inputs, strict=True)
        values = {tensor: ops.convert_to_tensor(value, dtype=spec.dtype) for tensor, value, spec in pairs}
        for k, call in enumerate(self.graph.calls):
            outputs = keras.tree.flatten(apply_call(call, values, training))
            for tensor, value in zip(call.outputs, outputs, strict=True):
                if tensor in taps and visit is not None:
                    replaced = visit(taps[tensor], value)
                    value = value if replaced is None else replaced
                values[tensor] = value
            if until is not None and until.tensor in call.outputs:
                return None
            for tensor in {*call.inputs, *call.outputs}:
                if self._last_use.get(tensor, -1) <= k:
                    values.pop(tensor, None)
        return [values[tensor] for tensor in self.graph.outputs]

    def normalizes(self):
        """Whether any layer normalizes: in front of a kernel, behind one or elsewhere."""
        return any(_normalizes(call) for call in self.graph.calls)

    def kernel_layers(self):
        """`(path, layer)` of each layer with a kernel, once, however often it is called."""
        layers = {id(tap.layer): (tap.layers[0], tap.layer) for tap in reversed(self.taps)}
        return list(reversed(layers.values()))


@contextlib.contextmanager
def unchanged(network):
    """State that layers called with `training=True` move, such as BatchNormalization's, is put back at the end."""
    model = network.model
    trained = {id(variable) for variable in model.trainable_variables}
    variables = [v for v in model.variables if id(v) not in trained]
    values = [np.array(ops.convert_to_numpy(variable)) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


def to_numpy(tensor):
    """Array of float32, or float64 where the tensor is; NumPy has no bfloat16 of its own."""
    if keras.backend.standardize_dtype(tensor.dtype) not in ("float32", "float64"):
        tensor = ops.cast(tensor, "float32")
    return ops.convert_to_numpy(tensor)


def _check_model(model):
    if not isinstance(model, keras.Model):
        raise UserError(f"model must be a keras.Model. Received {type(model).__name__}: {model!r}.")
    if not has_graph(model):
        if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
            raise UserError(
                f"model '{model.name}' is not built, so it has no weights yet: call it once on images, or give it a "
                "keras.Input."
            )
        raise UserError(
            f"model '{model.name}' ({type(model).__name__}) is a subclassed model, whose layers and their order "
            "cannot be read: build it with keras.Model(inputs, outputs) or keras.Sequential."
        )
    if not model.weights:
        raise UserError(f"model '{model.name}' has no weights: there is no layer to measure.")


# Taps -----------------------------------------------------------------------------------------------------
def has_kernel(layer):
    """Whether a layer multiplies its input with a kernel: Dense, every convolution, the Dirac layers and their like."""
    if not isinstance(layer, keras.layers.Layer):
        return False
    separable = hasattr(layer, "depthwise_kernel") and hasattr(layer, "pointwise_kernel")
    return separable or hasattr(getattr(layer, "kernel", None), "shape")


def _find_taps(graph):
    taps, unmeasured, calls = [], [], {}
    for call in graph.calls:
        layer = call.operation
        if not has_kernel(layer):
            if getattr(layer, "weights", None) and not isinstance(layer, (*_NORMALIZATIONS, keras.layers.PReLU)):
                reason = f"{type(layer).__name__} holds weights, but no kernel whose units could be told apart"
                unmeasured.append((call.path, reason))
            continue
        if len(call.outputs) != 1 or len(call.output_shapes[0]) < 2:
            unmeasured.append((call.path, f"{type(layer).__name__} gives no (batch, ..., units) output"))
            continue
        chain, activation = _chain(graph, call)
        calls[call.path] = calls.get(call.path, 0) + 1
        channels_first = getattr(layer, "data_format", None) == "channels_first"
        unit_axis = 1 if channels_first else len(chain[-1].output_shapes[0]) - 1
        taps.append(
            Tap(
                name=call.path if calls[call.path] == 1 else f"{call.path}#{calls[call.path]}",
                layers=tuple(link.path for link in chain),
                activation=activation,
                normalization=next((type(c.operation).__name__ for c in chain if _normalizes(c)), ""),
                units=chain[-1].output_shapes[0][unit_axis],
                is_output=_is_output(graph, chain[-1].outputs[0]),
                layer=layer,
                tensor=chain[-1].outputs[0],
                unit_axis=unit_axis,
            )
        )
    return taps, unmeasured


def _chain(graph, call):
    """The calls from a layer to its units' response, and the non-linearity."""
    activation = activation_of(getattr(call.operation, "activation", None))
    if activation is not None:
        return [call], activation
    chain, settled = [call], 1
    while (reader := _only_reader(graph, chain[-1].outputs[0])) is not None:
        activation = activation_of(reader.operation)
        if activation is not None:
            return [*chain, reader], activation
        if not isinstance(reader.operation, (*_NORMALIZATIONS, *_TRANSPARENT)):
            break
        chain.append(reader)
        if _normalizes(reader):
            settled = len(chain)
    return chain[:settled], Activation("linear")


def _normalizes(call):
    return isinstance(call.operation, _NORMALIZATIONS)


def _only_reader(graph, tensor):
    readers = graph.consumers.get(tensor, [])
    if tensor in graph.outputs or len(readers) != 1:
        return None
    (reader,) = readers
    return reader if len(reader.inputs) == 1 and len(reader.outputs) == 1 else None


def _is_output(graph, tensor):
    while readers := graph.consumers.get(tensor, []):
        reader = readers[0]
        if len(readers) > 1 or len(reader.outputs) > 1:
            return False
        if not (activation_of(reader.operation) or isinstance(reader.operation, _RESHAPING)):
            return False
        tensor = reader.outputs[0]
    return tensor in graph.outputs


def activation_of(operation):
    """The `Activation` of a layer, a raw operation or an `activation=` function; None if it is none, or linear."""
    if operation is None:
        return None
    if isinstance(operation, keras.layers.Activation):
        return activation_of(operation.activation)
    if isinstance(operation, keras.layers.ReLU):
        if operation.negative_slope:
            return Activation("leaky_relu")
        top = operation.max_value
        return Activation("relu", (None, None if top is None else float(top)), can_die=True)
    for kind, name in _ACTIVATION_LAYERS.items():
        if isinstance(operation, kind):
            return _named(name)
    if isinstance(operation, keras.layers.Layer):
        return None
    if isinstance(operation, keras.Operation):
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(operation).__name__).lower()
        is_keras = type(operation).__module__.split(".")[0] == "keras"
        return _named(name) if is_keras and name in _NAMES else None
    name = getattr(operation, "__name__", type(operation).__name__)
    if operation is keras.activations.linear:
        return None
    known = any(getattr(place, name, None) is operation for place in (keras.activations, keras.ops, keras.ops.nn))
    return _named(name) if known and name in _NAMES else Activation(f"custom: {name}")


def _named(name):
    return Activation(name, _BOUNDS.get(name, (None, None)), can_die=name in ("relu", "relu6"))


def _layers(names):
    return tuple(getattr(keras.layers, name) for name in names.split() if hasattr(keras.layers, name))


_NORMALIZATIONS = _layers(
    "BatchNormalization LayerNormalization RMSNormalization GroupNormalization SpectralNormalization "
    "UnitNormalization Normalization"
)
_TRANSPARENT = _layers(
    "Activation Identity Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout "
    "GaussianNoise ActivityRegularization MaxPooling1D MaxPooling2D MaxPooling3D ZeroPadding1D ZeroPadding2D "
    "ZeroPadding3D"
)
_RESHAPING = _layers(
    "Activation Identity Dropout Flatten Reshape Permute GlobalAveragePooling1D GlobalAveragePooling2D "
    "GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D AveragePooling1D "
    "AveragePooling2D AveragePooling3D"
)
_ACTIVATION_LAYERS = {
    keras.layers.LeakyReLU: "leaky_relu",
    keras.layers.PReLU: "prelu",
    keras.layers.ELU: "elu",
    keras.layers.Softmax: "softmax",
}
_BOUNDS = {
    **dict.fromkeys(("sigmoid", "hard_sigmoid", "sparse_sigmoid", "softmax", "sparsemax"), (0.0, 1.0)),
    **dict.fromkeys(("tanh", "hard_tanh", "softsign"), (-1.0, 1.0)),
    "relu6": (None, 6.0),
}
_NAMES = {
    *_BOUNDS,
    *("relu", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "hard_silu", "mish", "softplus", "log_sigmoid"),
    *("log_softmax", "squareplus", "sparse_plus", "tanh_shrink", "hard_shrink", "soft_shrink", "exponential"),
}
