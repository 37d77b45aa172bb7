"""Separable convolutions as the two convolutions that they are: each has filters, and so grids, of its own."""

import keras

from dirac_keras.deployment.quantization.network import copy_of
from dirac_keras.folding.copies import make_again
from dirac_keras.graph.functional import as_functional, has_graph
from dirac_keras.graph.layer_types import SEPARABLE_CONVOLUTIONS
from dirac_keras.graph.trace import trace

_CONVOLUTIONS = {
    keras.layers.SeparableConv1D: (keras.layers.DepthwiseConv1D, keras.layers.Conv1D),
    keras.layers.SeparableConv2D: (keras.layers.DepthwiseConv2D, keras.layers.Conv2D),
}


def split_separable(model):
    """The same function, with a model of a depthwise and a pointwise convolution for each separable one.

    Both backends compute a separable convolution as these two, one after the other.

    Args:
        model: folded Functional or Sequential `keras.Model`.

    Returns: `(model, tuple of paths)`: a copy in float32 with the layers `NAME/NAME_depthwise` and
        `NAME/NAME_pointwise`, and the layers that were split. Without any, the model as it came.
    """
    calls = trace(model).calls if has_graph(model) else ()
    paths = tuple(dict.fromkeys(call.path for call in calls if _is_separable(call.operation)))
    return (_split(copy_of(model)), paths) if paths else (model, ())


def _is_separable(layer):
    return type(layer) in SEPARABLE_CONVOLUTIONS and layer.data_format == "channels_last"


def _split(model):
    made = []

    def again(layer):
        if has_graph(layer):
            return _split(layer)
        new = _two(layer) if _is_separable(layer) else make_again(layer)
        made.append((layer, new))
        return new

    split = keras.models.clone_model(as_functional(model), clone_function=again)
    for layer, new in made:
        new.set_weights(layer.get_weights())  # of a separable layer: the kernel of each channel, the mixing one, bias
        if isinstance(new, keras.layers.Normalization):  # which works from what it derives of its weights
            new.finalize_state()
    return split


def _two(layer):
    depthwise, pointwise = _CONVOLUTIONS[type(layer)]
    *size, channels, multiplier = layer.depthwise_kernel.shape
    x = inputs = keras.Input((*(None for _ in size), channels), name=f"{layer.name}_input")
    x = depthwise(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        depth_multiplier=multiplier,
        dilation_rate=layer.dilation_rate,
        use_bias=False,
        dtype="float32",
        name=f"{layer.name}_depthwise",
    )(x)
    x = pointwise(
        layer.filters,
        1,
        use_bias=layer.use_bias,
        activation=layer.activation,
        dtype="float32",
        name=f"{layer.name}_pointwise",
    )(x)
    return keras.Model(inputs, x, name=layer.name)
