"""Parts in which tensors, or a tensor and a constant, meet."""

import numpy as np
from keras import layers, ops

from tests.folding.graphs.catalogue import part
from tests.folding.graphs.kernels import of_rank
from tests.folding.graphs.pointwise import variable_skip
from tests.folding.graphs.site import is_known

LAYERS = ("Add", "Add", "Add", "Subtract", "Average", "Multiply", "Maximum", "Minimum")
OPS = ("add", "add", "subtract", "multiply", "maximum", "minimum")


def merge(site, tensors):
    """Tensors of one shape, or such as broadcast, through a layer or an operation."""
    starts_with_constant = isinstance(tensors[0], np.ndarray)  # which Keras' layers do not take
    if len(tensors) != 2 or (not starts_with_constant and site.choices.chance(0.6)):
        name = site.choices.pick(LAYERS)
        if name == "Subtract" and len(tensors) != 2:
            name = "Average"
        return getattr(layers, name)()(tensors)
    return getattr(ops, site.choices.pick(OPS))(*tensors)


def join(site, tensors, axis):
    if not isinstance(tensors[0], np.ndarray) and site.choices.chance(0.5):
        return layers.Concatenate(axis=axis)(tensors)
    return ops.concatenate(tensors, axis=axis)


@part(weight=4, needs_known=True, fits=lambda site, x: not x.sparse)
def concatenate_constant(site, x):
    if x.shape[0] is None:
        return x + site.constant((1, *x.shape[1:]))
    shape = list(x.shape)
    shape[site.channel_axis(x)] = site.choices.pick([1, 2, site.channels(x)])
    constant = site.constant(shape)
    tensors = site.choices.pick([[x, constant], [constant, x], [x, constant, layers.ReLU()(x)], [x, constant, x]])
    return join(site, tensors, site.channel_axis(x))


@part(weight=4, needs_known=True, fits=lambda site, x: not x.sparse)
def merge_constant(site, x):
    constant = site.constant((x.shape[0] or 1, *x.shape[1:]))
    other = branch(site, x)
    tensors = site.choices.pick([[x, constant], [constant, x], [x, constant, other], [x, other, constant]])
    return merge(site, tensors)


@part(weight=6)
def residual(site, x):
    return merge(site, [branch(site, x), x] if site.choices.chance(0.5) else [x, branch(site, x)])


@part(weight=4)
def sealed_skip(site, x):
    tensors = [branch(site, x), variable_skip(site, x)]
    if site.choices.chance(0.3):
        tensors.append(branch(site, x))
    if is_known(x) and site.choices.chance(0.3):
        tensors.insert(site.choices.integer(1, 2), site.constant((x.shape[0] or 1, *x.shape[1:])))
    if site.choices.chance(0.3) and not isinstance(tensors[1], np.ndarray):
        tensors[:2] = tensors[1::-1]
    return layers.Add()(tensors) if len(tensors) > 2 or site.choices.chance(0.6) else ops.add(*tensors)


@part(weight=5)
def branches(site, x):
    tensors = [branch(site, x) for _ in range(site.choices.pick([2, 3]))]
    return join(site, tensors, site.channel_axis(x)) if site.choices.chance(0.5) else merge(site, tensors)


@part(weight=2, ranks=(4,))
def squeeze_and_excite(site, x):
    axis = (2, 3) if site.channel_axis(x) == 1 else (1, 2)
    pooled = ops.mean(x, axis=axis, keepdims=True)
    gate = layers.Conv2D(site.channels(x), 1, activation="sigmoid", data_format=site.data_format)(pooled)
    return layers.Multiply()([x, gate])


@part(weight=3)
def shared_layer(site, x):
    """One layer called twice, with the normalization shared, doubled or alone behind one call."""
    channels = site.channels(x)
    layer = _same_shape(site, x, channels)
    axis = site.channel_axis(x)
    first, second = layer(x), layer(layers.ReLU()(x))
    kind = site.choices.pick(["shared", "own", "one"])
    normalization = layers.BatchNormalization(axis=axis)
    if kind == "shared":
        first, second = normalization(first), normalization(second)
    elif kind == "own":
        first, second = normalization(first), layers.BatchNormalization(axis=axis)(second)
    else:
        first = normalization(first)
    return merge(site, [first, second])


def branch(site, x):
    """A short branch of the shape of `x`."""
    y, axis = x, site.channel_axis(x)
    if site.choices.chance(0.3):
        y = layers.BatchNormalization(axis=axis)(y)
    if site.choices.chance(0.4):
        y = layers.ReLU()(y)
    if site.choices.chance(0.8):
        y = _same_shape(site, x, site.channels(x))(y)
    if site.choices.chance(0.5):
        y = layers.BatchNormalization(axis=axis)(y)
    return layers.ReLU()(y) if y is x else y


def _same_shape(site, x, channels):
    if len(x.shape) == 2 or (site.channel_axis(x) == len(x.shape) - 1 and site.choices.chance(0.3)):
        return layers.Dense(channels, use_bias=site.choices.chance(0.5))
    return of_rank("Conv{}", x)(channels, 3, padding="same", data_format=site.data_format)
