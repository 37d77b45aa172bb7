"""`features(model, layers)`: a network as the backbone of another head, its strides listed."""

import dataclasses
import logging

import keras

from dirac_keras.errors import UserError
from dirac_keras.graph.functional import check_has_graph, input_structure, with_inputs_of
from dirac_keras.graph.layer_outputs import layer_outputs
from dirac_keras.graph.receptive_fields import places_lost, strides_of
from dirac_keras.graph.sizes import in_words
from dirac_keras.graph.trace import trace
from dirac_keras.listing import quoted

logger = logging.getLogger("dirac_keras")
_PADS = tuple(
    getattr(keras.layers, f"{kind}{rank}D") for kind in ("ZeroPadding", "Cropping") for rank in (1, 2, 3)
)  # prepare another layer's input: their sides are no multiples of the strides


@dataclasses.dataclass(frozen=True)
class Level:
    """One output of a backbone.

    Attributes:
        layer: str, the layer that gives it.
        strides: tuple of int, pixels of the input from one of its positions to the next, on each spatial axis.
        channels: int.
    """

    layer: str
    strides: tuple
    channels: int


def features(model, layers=None, input_shape=None):
    """The outputs of layers of a network, for another head: segmentation, detection, a metric.

    Args:
        model: Functional or Sequential `keras.Model` of images or sequences, as from `build_resnet(...,
            include_top=False)`, `fold`, or of others. It is not changed; the backbone shares its layers and weights.
        layers: list of layer names, in the order of the outputs wanted, or one name; None: the last layer of every
            stride, the finest first, as a feature pyramid reads them. Layers inside a block with a skip or branches
            are passed over for the last one in front of it, where there is one; what only scales the images is none.
        input_shape: tuple without the batch, of the images that the backbone takes: (64, 64, 3), or (None, None, 3)
            for any size. None: that of the model.

    Returns: `(backbone, list of Level)`: a `keras.Model` with a list of outputs.
    Raises: ValueError: if the model has no graph of layers, a layer is unknown or called several times, or its output
        has no channels over places, as behind a global pool; if the layers do not take `input_shape`.

    Example:
    >>> backbone, levels = features(build_resnet(20, include_top=False))
    >>> [(level.strides, level.channels) for level in levels]
    [((1, 1), 16), ((2, 2), 32), ((4, 4), 64)]
    """
    check_has_graph(model)
    strides = {name: steps for name, steps in strides_of(model).items() if steps is not None}
    calls, known = layer_outputs(model), {layer.name for layer in model.layers if layer.name in strides}
    outputs = {name: calls[name][0][0] for name in strides if name in known and len(calls[name]) == 1}
    if layers is None:
        last, last_alone, front, alone = {}, {}, _in_front(model), _alone(model)
        for name in strides:
            is_level = name in outputs and name not in front
            if is_level and not isinstance(model.get_layer(name), (*_PADS, keras.layers.InputLayer)):
                last[strides[name]] = name  # the order is that of the network
                last_alone |= {strides[name]: name} if name in alone else {}
        if lost := places_lost(model):
            logger.warning(
                "%s: layers behind %s are no levels, as the strides of such layers are not known; name those you want "
                "of other layers.", model.name, quoted(lost),
            )  # fmt: skip
        layers = [last_alone.get(steps, last[steps]) for steps in sorted(last)]
        if not layers:
            raise UserError(
                "model must have layers that give channels over places, as convolutions do. Received model "
                f"'{model.name}', which has none of its own: give a model inside it, `model.get_layer(NAME)`, or one "
                "with such layers."
            )
    layers = list(layers) if isinstance(layers, (list, tuple)) else [layers]
    unknown = [name for name in layers if name not in outputs]
    if repeated := [name for name in layers if name in known and name not in outputs]:
        raise UserError(
            f"layers must be names of layers that the model calls once. Received {repeated[0]!r}, which "
            f"'{model.name}' calls {len(calls[repeated[0]])} times: name a layer behind the call that you mean."
        )
    if unknown or not layers:
        known = ", ".join(list(outputs)[-8:]) or "none"
        raise UserError(
            f"layers must be names of layers with channels over places. Received {unknown or layers} for model "
            f"'{model.name}'; the last ones that it has: {known}."
        )
    backbone = keras.Model(input_structure(model), [outputs[name] for name in layers], name=f"{model.name}_features")
    axes = _channel_axes(model)
    if input_shape is not None:
        backbone = _on_inputs_of(backbone, input_shape)
    return backbone, [Level(name, strides[name], outputs[name].shape[axes.get(name, -1)]) for name in layers]


def _on_inputs_of(backbone, input_shape):
    """The backbone over the same layers, for images of another shape."""
    if len(backbone.inputs) > 1:
        raise UserError(
            f"input_shape is for a model of one input. Received '{backbone.name}' of {len(backbone.inputs)}: leave it "
            "out, and give the model open sizes, as keras.Input((None, None, channels))."
        )
    try:
        return with_inputs_of(backbone, [(backbone.inputs[0].shape[0], *input_shape)])
    except Exception as error:  # of whatever kind Keras or a layer raises
        raise UserError(
            f"input_shape must be one that the layers take. Received input_shape={input_shape} for '{backbone.name}', "
            f"built for {tuple(backbone.inputs[0].shape[1:])}: {in_words(error)}."
        ) from error


def _alone(model):
    """Names of layers beside which no tensor is on its way: what follows reads nothing of what was before them."""
    graph = trace(model)
    read_last = {tensor: place for place, call in enumerate(graph.calls) for tensor in call.inputs}
    until, names = max((read_last.get(tensor, 0) for tensor in graph.inputs), default=0), set()
    for place, call in enumerate(graph.calls):
        if until <= place:
            names.add(call.path)
        until = max(until, *(read_last.get(tensor, 0) for tensor in call.outputs))
    return names


def _in_front(model):
    """Names of what only prepares the images: layers and operations before the first weights; none without weights."""
    graph = trace(model)
    made, names = set(graph.inputs), set()
    for call in graph.calls:
        operation = call.operation
        is_preparing = not getattr(operation, "weights", None) or type(operation) is keras.layers.Normalization
        if is_preparing and made.issuperset(call.inputs):
            made.update(call.outputs)
            names.add(call.path)
    return names if made.isdisjoint(graph.outputs) else set()


def _channel_axes(model):
    """Dict, layer name -> axis of the channels in what it gives: what the layer says, else that of what it reads."""
    of_tensors, named = {}, {}
    for call in trace(model).calls:
        said = getattr(call.operation, "data_format", None)
        read = [of_tensors[tensor] for tensor in call.inputs if tensor in of_tensors]
        axis = (1 if said == "channels_first" else -1) if said is not None else next(iter(read), -1)
        of_tensors |= dict.fromkeys(call.outputs, axis)
        named[call.path] = axis
    return named
