"""Parts with a kernel."""

import keras
from keras import layers

from dirac_keras.layers import DiracConv1D, DiracConv2D, DiracConv3D, DiracDense
from tests.folding.graphs.catalogue import part
from tests.folding.graphs.site import RANKS_OF_LAYERS

DIRAC = {3: DiracConv1D, 4: DiracConv2D, 5: DiracConv3D}


def activation(site):
    """Mostly none: what has one cannot absorb what is behind it."""
    return site.choices.pick([None, None, None, None, "relu", "tanh", "linear"])


def bias(site):
    return {"use_bias": site.choices.chance(0.6)}


def padding(site, x, size):
    """`same` or `valid`, the latter where the kernel fits."""
    options = ["same", "valid"] if site.smallest(x) >= size + 1 else ["same"]
    return site.choices.pick(options)


def of_rank(name, x):
    return getattr(layers, name.format(RANKS_OF_LAYERS[len(x.shape)]))


@part(weight=8, ranks=(3, 4, 5))
def convolution(site, x):
    size = site.choices.pick([1, 3, 2])
    strides = site.choices.pick([1, 1, 2]) if site.smallest(x) >= 4 else 1
    dilation = site.choices.pick([1, 1, 2]) if strides == 1 and site.smallest(x) >= 8 else 1
    groups = 2 if site.channels(x) % 2 == 0 and site.choices.chance(0.15) else 1
    filters = site.choices.pick([4, 2, 6]) if groups == 2 else site.filters()
    causal = len(x.shape) == 3 and site.data_format == "channels_last" and site.choices.chance(0.2)
    return of_rank("Conv{}", x)(
        filters,
        size,
        strides=strides,
        padding="causal" if causal else padding(site, x, dilation * (size - 1) + 1),
        dilation_rate=dilation,
        groups=groups,
        data_format=site.data_format,
        activation=activation(site),
        dtype=site.dtype(),
        **bias(site),
    )(x)


@part(weight=3, ranks=(3, 4))
def depthwise(site, x):
    return of_rank("DepthwiseConv{}", x)(
        3,
        padding=padding(site, x, 3),
        depth_multiplier=site.choices.pick([1, 2]),
        data_format=site.data_format,
        activation=activation(site),
        **bias(site),
    )(x)


@part(weight=2, ranks=(3, 4))
def separable(site, x):
    return of_rank("SeparableConv{}", x)(
        site.filters(),
        3,
        padding=padding(site, x, 3),
        depth_multiplier=site.choices.pick([1, 2]),
        data_format=site.data_format,
        **bias(site),
    )(x)


@part(weight=2, ranks=(3, 4, 5), fits=lambda site, x: site.smallest(x) <= 12)
def transposed(site, x):
    return of_rank("Conv{}Transpose", x)(
        site.filters(),
        site.choices.pick([3, 2]),
        strides=site.choices.pick([1, 2]),
        padding=site.choices.pick(["same", "valid"]),
        data_format=site.data_format,
        **bias(site),
    )(x)


@part(weight=6, takes_integers=True, fits=lambda site, x: x.shape[-1] is not None)
def dense(site, x):
    return layers.Dense(site.filters(), activation=activation(site), dtype=site.dtype(), **bias(site))(x)


@part(weight=2, fits=lambda site, x: x.shape[-1] is not None)
def einsum_dense(site, x):
    units = site.filters()
    equation, shape = site.choices.pick(
        [("...x,xy->...y", units), ("...x,xyz->...yz", (2, units))] if len(x.shape) == 2 else [("...x,xy->...y", units)]
    )
    letters = "bdefx"[: len(x.shape) - 1] + "x"  # its shape inference wants letters, not dots, for open lengths
    equation = equation.replace("...x", letters, 1).replace("->...", "->" + letters[:-1])
    front = [length for length in x.shape[1:-1]]
    output_shape = (*front, *(shape if isinstance(shape, tuple) else (shape,)))
    bias_axes = site.choices.pick([None, equation[-1]])
    return layers.EinsumDense(equation, output_shape=output_shape, bias_axes=bias_axes)(x)


@part(weight=4, ranks=(3, 4, 5), takes_integers=True)
def dirac_convolution(site, x):
    weight_norm, scale = site.choices.pick([(True, True), (False, True), (False, False)])
    size = site.choices.pick([3, 1])
    return DIRAC[len(x.shape)](
        site.filters(),
        size,
        padding=padding(site, x, size),
        use_weight_norm=weight_norm,
        use_identity_scale=scale,
        data_format=site.data_format,
        activation=activation(site),
        dtype=site.dtype(),
        **bias(site),
    )(x)


@part(weight=3, takes_integers=True, fits=lambda site, x: x.shape[-1] is not None)
def dirac_dense(site, x):
    return DiracDense(site.filters(), activation=activation(site), dtype=site.dtype(), **bias(site))(x)


@part(weight=1, ranks=(2, 4), fits=lambda site, x: x.shape[-1] is not None)
def spectral(site, x):
    if len(x.shape) == 4:
        layer = layers.Conv2D(site.filters(), 3, padding="same", data_format=site.data_format)
    else:
        layer = layers.Dense(site.filters())
    return layers.SpectralNormalization(layer)(x)


@part(weight=2, ranks=(3, 4, 5), fits=lambda site, x: None not in x.shape[2:])
def time_distributed(site, x):
    units = site.filters()
    options = [lambda: layers.Dense(units), lambda: DiracDense(units)]
    if len(x.shape) == 4:
        options.append(lambda: layers.Conv1D(units, 3, padding="same", data_format=site.data_format))
    if len(x.shape) == 5:
        options.append(lambda: layers.Conv2D(units, 3, padding="same", data_format=site.data_format))
    options.append(lambda: layers.BatchNormalization())
    options.append(lambda: _inner_model(site, x, units))
    return layers.TimeDistributed(site.choices.pick(options)())(x)


def _inner_model(site, x, units):
    inner = keras.Input(x.shape[2:])
    y = layers.BatchNormalization()(layers.Dense(units)(inner))
    return keras.Model(inner, y)
