"""A network as quantization sees it: its calls, which kernels become integers, and where its logits are."""

import keras

from dirac_keras.deployment.quantization.taps import Taps
from dirac_keras.errors import UserError
from dirac_keras.folding.copies import make_again
from dirac_keras.graph.casting import take_weights, to_float32
from dirac_keras.graph.finite import describe_nonfinite, nonfinite_weights
from dirac_keras.graph.functional import check_has_graph, has_graph
from dirac_keras.graph.layer_types import is_keras_op, raw_operation_name
from dirac_keras.graph.trace import trace
from dirac_keras.precision import dtype_policy

QUANTIZED = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)


class Network:
    """The graph of a model of one input, nested models opened.

    Attributes:
        model: `keras.Model`.
        calls: list of `graph.trace.Call`, in the order in which they run, without a softmax or sigmoid at the end.
        input: number of the image's tensor.
        outputs: list of numbers of tensors: the logits where the model ends in a softmax or a sigmoid.
        layers: dict, path -> layer with a kernel that is quantized, in the order of computation.
        left: dict, path -> why the kernels of this layer stay as they are.
        logits_of: id of a layer whose own softmax or sigmoid is not applied, or None.
    """

    def __init__(self, model, sample_shape=None):
        """`sample_shape`: of one image, where the model leaves its size open."""
        check_has_graph(model)
        if len(model.inputs) != 1:
            names = ", ".join(tensor.name for tensor in model.inputs)
            raise UserError(
                f"model must have one input to be quantized. Received '{model.name}', which takes {names}. Export it "
                "in float32 or float16."
            )
        shape = tuple(model.inputs[0].shape[1:]) if sample_shape is None else tuple(sample_shape)
        graph = trace(model, [(None, *shape)])
        self.model, self.graph = model, graph
        self.input, self.outputs = graph.inputs[0], list(graph.outputs)
        self.logits_of = None
        self._cut_to_logits()
        self.calls = _needed(graph.calls, self.outputs)
        self.layers, self.left = {}, {}
        for call in self.calls:
            self._sort(call)

    def path_of(self, layer):
        """The path of a layer that is quantized."""
        return next(path for path, other in self.layers.items() if other is layer)

    def calls_of(self, layer):
        """Its calls, in order."""
        return [call for call in self.calls if call.operation is layer]

    def taps(self, path):
        """`Taps` of a layer."""
        return Taps(self.layers[path])

    def _cut_to_logits(self):
        for place, tensor in enumerate(self.outputs):
            call = self.graph.producer.get(tensor)
            if call is None:
                continue
            layer = call.operation
            is_last = isinstance(layer, keras.layers.Softmax) or raw_operation_name(layer) in ("Softmax", "Sigmoid")
            activates = getattr(layer, "activation", None) in (keras.activations.softmax, keras.activations.sigmoid)
            if is_last or (is_keras_op(layer, "Activation") and activates):
                self.outputs[place] = call.inputs[0]
            elif type(layer) in QUANTIZED and activates:
                self.logits_of = id(layer)

    def _sort(self, call):
        layer, path = call.operation, call.path
        if path in self.layers or path in self.left or not isinstance(layer, keras.layers.Layer):
            return
        if type(layer) in QUANTIZED:
            if any(len(shape) < 2 for shape in call.input_shapes):
                self.left[path] = "its input has no axis of channels"
            elif getattr(layer, "data_format", "channels_last") != "channels_last":
                self.left[path] = "its channels come first"
            else:
                self.layers[path] = layer
        elif isinstance(layer, keras.layers.BatchNormalization):
            self.left[path] = "BatchNormalization: fold the model first"
        elif any(len(weight.shape) > 1 for weight in layer.weights):
            self.left[path] = f"{type(layer).__name__} is not quantized here"


def refuse_nonfinite(model):
    """Raise ValueError if a weight of a model is NaN or infinite."""
    if isinstance(model, keras.Model) and (found := nonfinite_weights(model)):
        raise UserError(
            f"model: weights that are not finite (NaN or infinite) cannot be quantized: {describe_nonfinite(found)}. "
            "Train again, or take an earlier checkpoint."
        )


def copy_of(model):
    """The same model with layers and weights of its own, in float32; nested models are copied too."""
    check_has_graph(model)
    model = to_float32(model)
    with dtype_policy("float32"):
        copy = _clone(model)
    take_weights(copy, model)
    return copy


def _clone(model):
    def again(layer):
        return _clone(layer) if has_graph(layer) else make_again(layer)

    return keras.models.clone_model(model, clone_function=again)


def _needed(calls, outputs):
    """Without calls whose outputs nothing reads."""
    wanted, kept = set(outputs), []
    for call in reversed(calls):
        if wanted & set(call.outputs):
            kept.append(call)
            wanted |= set(call.inputs)
    return kept[::-1]
