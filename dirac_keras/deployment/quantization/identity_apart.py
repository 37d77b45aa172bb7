"""The identity kept apart from the learned taps: a branch of 1x1 beside the convolution, and an addition."""

import dataclasses

import keras
import numpy as np

from dirac_keras.deployment.quantization.network import copy_of
from dirac_keras.errors import UserError
from dirac_keras.folding.copies import make_again
from dirac_keras.graph.functional import as_functional, has_graph, new_inputs

LEAST_RATIO = 4.0  # of the identity tap to the rms of the others, where a branch is worth its addition
_DEPTHWISE = {keras.layers.Conv1D: keras.layers.DepthwiseConv1D, keras.layers.Conv2D: keras.layers.DepthwiseConv2D}


@dataclasses.dataclass(frozen=True)
class SplitLayer:
    """A convolution whose identity taps stand apart.

    Attributes:
        name: str, of the convolution; the layers beside it are `name_identity`, `name_sum` and, where it had an
            activation, `name_activation`.
        ratio: float, median over the filters of the identity tap over the rms of the other taps.
    """

    name: str
    ratio: float


def identity_ratios(layer):
    """For each filter of a layer that can hold an identity tap, that tap over the rms of the others.

    The identity tap of filter i is that at the centre of channel i: there is one in convolutions of stride 1 and odd
    size, `"same"` padding and one group, for as many filters as there are channels; and in dense layers.

    Args:
        layer: any Keras layer.

    Returns: array `(min(channels, filters),)`, absolute values; None for layers without.
    """
    if type(layer) is keras.layers.Dense:
        size = ()
    elif type(layer) in (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D):
        size = layer.kernel_size
        fits = layer.groups == 1 and layer.padding == "same" and {*layer.strides} == {1}
        if not fits or not all(side % 2 for side in size) or layer.data_format != "channels_last":
            return None
    else:
        return None
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float64")
    centre = np.diagonal(kernel[tuple(side // 2 for side in size)])
    squares = np.sum(kernel**2, axis=tuple(range(kernel.ndim - 1)))[: len(centre)]
    rms = np.sqrt(np.maximum(squares - centre**2, 0) / max(np.prod(kernel.shape[:-1]) - 1, 1))
    return np.abs(centre) / np.maximum(rms, np.finfo("float32").tiny)


def identity_masks(network, least_ratio=LEAST_RATIO):
    """Where the identity taps are, in layers in which they stand out.

    Args:
        network: `Network`.
        least_ratio: number, as in `split_identity`.

    Returns: dict, path -> bool array of the kernel's shape.
    """
    found = {}
    for path, layer in network.layers.items():
        ratios = None if type(layer) is keras.layers.Dense else identity_ratios(layer)
        if ratios is not None and np.median(ratios) >= least_ratio:
            mask, diagonal = np.zeros(layer.kernel.shape, bool), np.arange(len(ratios))
            mask[(*(side // 2 for side in layer.kernel_size), diagonal, diagonal)] = True
            found[path] = mask
    return found


def split_identity(model, least_ratio=LEAST_RATIO):
    """A model that computes the same, with the identity taps of its convolutions apart from the learned ones.

    `y = W x` becomes `y = (W - diag(d)) x + d x`, d being the centre taps of the channels' own. Each d is alone in its
    filter, so that an integer holds it exactly; the learned taps have a scale of their own. The graph has an addition
    more for each convolution, and is no longer a plain chain.

    Args:
        model: folded Functional or Sequential `keras.Model`, any number of inputs; nested models are split too.
        least_ratio: number; convolutions with a smaller median of `identity_ratios` stay as they are.

    The branch is depthwise; beside a convolution with more filters than channels, or fewer, it is an ordinary one whose
    filters have one tap each, or none.

    Returns: `(model, tuple of SplitLayer)`; the model is Functional.
    Raises: ValueError: if no convolution has an identity tap of that size.
    """
    split = []
    copy = _rebuilt(copy_of(model), least_ratio, split)
    if not split:
        raise UserError(
            f"model has no convolution whose identity taps are {least_ratio:g} times the rms of the others: there is "
            f"nothing to keep apart. Received '{model.name}'. Leave out \"identity_apart\"."
        )
    return copy, tuple(split)


def _rebuilt(model, least_ratio, split):
    """`model` is a copy that may be changed; layers that do not change stand in the new one."""
    functional = keras.Model(model.inputs[0], model.outputs[0], name=model.name)  # where the structure is a list of one
    if not isinstance(model, keras.Sequential):
        functional = as_functional(model)
    branches = {}

    def again(layer):
        if has_graph(layer):
            return _rebuilt(layer, least_ratio, split)
        ratios = identity_ratios(layer)
        if type(layer) not in _DEPTHWISE or ratios is None or np.median(ratios) < least_ratio:
            return layer
        new = _without_activation(layer)
        branches[id(new)] = _Branch(layer)
        split.append(SplitLayer(layer.name, float(np.median(ratios))))
        return new

    def call(layer, *args, **kwargs):
        branch = branches.get(id(layer))
        return layer(*args, **kwargs) if branch is None else branch(layer, *args)

    rebuilt = keras.models.clone_model(
        functional, input_tensors=new_inputs(functional), clone_function=again, call_function=call
    )
    for layer in rebuilt.layers:
        if id(layer) in branches:
            branches[id(layer)].set_weights(layer)
    return rebuilt


class _Branch:
    """What stands beside a convolution that lost its identity taps and its activation."""

    def __init__(self, layer):
        self.layer = layer
        name = layer.name
        options = {"use_bias": False, "name": f"{name}_identity", "dtype": layer.dtype_policy}
        self.is_square = layer.kernel.shape[-2] == layer.kernel.shape[-1]
        if self.is_square:
            self.identity = _DEPTHWISE[type(layer)](1, **options)
        else:
            self.identity = type(layer)(layer.filters, 1, **options)
        self.sum = keras.layers.Add(name=f"{name}_sum", dtype=layer.dtype_policy)
        self.activation = None
        if layer.activation is not keras.activations.linear:
            self.activation = keras.layers.Activation(layer.activation, name=f"{name}_activation")

    def __call__(self, convolution, inputs):
        outputs = self.sum([convolution(inputs), self.identity(inputs)])
        return outputs if self.activation is None else self.activation(outputs)

    def set_weights(self, convolution):
        kernel = np.array(keras.ops.convert_to_numpy(self.layer.kernel))
        centre = tuple(side // 2 for side in self.layer.kernel_size)
        diagonal = np.arange(min(kernel.shape[-2:]))
        taps = kernel[(*centre, diagonal, diagonal)].copy()
        kernel[(*centre, diagonal, diagonal)] = 0
        convolution.kernel.assign(kernel)
        if convolution.use_bias:
            convolution.bias.assign(self.layer.bias)
        alone = taps if self.is_square else np.zeros(kernel.shape[-2:], kernel.dtype)
        if not self.is_square:
            alone[diagonal, diagonal] = taps
        self.identity.kernel.assign(alone.reshape(self.identity.kernel.shape))


def _without_activation(layer):
    config = make_again(layer).get_config() | {"activation": "linear"}
    return type(layer).from_config(config)
