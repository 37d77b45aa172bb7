"""Highway networks (Srivastava, Greff & Schmidhuber 2015, arXiv:1505.00387 and 1507.06228) and their plain twins."""

import functools

import keras

from dirac_keras.errors import check_choice
from dirac_keras.layers import BatchNormalization
from dirac_keras.models.blocks import (
    check_count,
    check_finite,
    check_initializer,
    check_input_shape,
    check_positive,
    classifier_head,
    flat_input,
    fresh_initializer,
    repeats_of_depth,
    scaled_channels,
)
from dirac_keras.models.family import THIN_DENSE, Family, Layout, kernel_start, register_family, renamed_arguments
from dirac_keras.models.residual import normalization_factory

LAYOUTS = ("dense", "conv")
GATE_BIAS = {"dense": -1.0, "conv": -2.0}  # of the authors' MNIST and CIFAR networks
CHANNELS = (32, 80, 128)


@renamed_arguments(kind="layout")
def build_highway(
    layout="dense",
    depth=None,
    units=50,
    width=1,
    num_classes=10,
    input_shape=(28, 28, 1),
    skips=True,
    gate_bias=None,
    kernel_initializer=None,
    classifier_activation=None,
    normalization=BatchNormalization,
    include_top=True,
    name=None,
):
    """A chain of `T(x) H(x) + (1 - T(x)) x` with `T = sigmoid(W_T x + b_T)`, or of `H` alone.

    Args:
        layout: `"dense"`, a plain dense layer and `depth` highway layers of `units`; or `"conv"`, three groups of a
            plain 3x3 convolution and `N` highway convolutions, with a 2/2 max-pool between.
        depth: int, highway layers of `"dense"`; `3 N + 4` layers in all of `"conv"` (7, 10, ..., 19, ...). None is 10,
            or 19.
        units: int, of every hidden layer of `"dense"`.
        width: number above 0, factor on the channels 32, 80, 128 of `"conv"`.
        num_classes: int, outputs.
        input_shape: `(height, width, channels)`, or any shape for `"dense"`, which flattens it.
        skips: bool. False is the plain network, `H` alone.
        gate_bias: number, start of `b_T`: the gates begin at `sigmoid(gate_bias)`. None is -1, or -2 for `"conv"`.
        kernel_initializer: of `W_H` and the plain layers; None is He-normal. Gates start Glorot-uniform.
        classifier_activation: of the last layer; None returns float32 logits.
        normalization: class of the BatchNormalization in `H`; None leaves it out, as the authors did.
        include_top: bool. False leaves out pool and classifier: the features of the last layer, for another head.
        name: of the model; None makes one from the arguments.

    Returns: functional `keras.Model`, `(batch, *input_shape)` -> `(batch, num_classes)`. Layers are named by position:
        `dense1`, `dense1_bn`, `dense1_relu`, `dense2`, ..., `dense2_gate`, `dense2_add`, ..., `head_dense`;
        `group1_conv1`, `group1_conv2`, `group1_conv2_gate`, ... .
    Raises: ValueError: if an argument is unknown or out of range.
    Source: arXiv:1507.06228, eq. 3 and section 3; the authors' networks of 10 and 19 layers.
    """
    check_choice("layout", layout, LAYOUTS)
    check_count("units", units)
    check_positive("width", width)
    check_count("num_classes", num_classes)
    check_initializer("kernel_initializer", kernel_initializer)
    gate_bias = GATE_BIAS[layout] if gate_bias is None else gate_bias
    check_finite("gate_bias", gate_bias)
    if layout == "dense":
        depth = 10 if depth is None else depth
        check_count("depth", depth)
        make = keras.layers.Dense
    else:
        depth = 19 if depth is None else depth
        repeats = _layers_per_group(depth)
        make = functools.partial(keras.layers.Conv2D, kernel_size=3, padding="same", use_bias=normalization is None)
    norm = None if normalization is None else normalization_factory(normalization)
    transform = functools.partial(_transform, make=make, norm=norm, initializer=kernel_initializer or "he_normal")
    gate = functools.partial(make, activation="sigmoid", use_bias=True)
    layer = functools.partial(_highway, transform=transform, gate=gate, gate_bias=gate_bias) if skips else transform

    if layout == "dense":
        inputs, x = flat_input(input_shape)
        x = transform(x, units, "dense1")
        for number in range(2, depth + 2):
            x = layer(x, units, f"dense{number}")
    else:
        inputs = x = keras.Input(check_input_shape(input_shape, min_size=2 ** (len(CHANNELS) - 1)), name="images")
        for group, base in enumerate(CHANNELS, start=1):
            if group > 1:
                x = keras.layers.MaxPooling2D(2, name=f"group{group}_pool")(x)
            channels = scaled_channels(base, width)
            x = transform(x, channels, f"group{group}_conv1")
            for number in range(2, repeats + 2):
                x = layer(x, channels, f"group{group}_conv{number}")
    outputs = classifier_head(x, num_classes, classifier_activation) if include_top else x
    size = f"{units}" if layout == "dense" else f"{width:g}"
    default_name = f"{'highway' if skips else 'plain_highway'}_{layout}_{depth}_{size}".replace(".", "p")
    return keras.Model(inputs, outputs, name=name or default_name)


def _transform(x, channels, name, make, norm, initializer):
    """`H(x)`: a layer with weights, BatchNormalization and ReLU."""
    x = make(channels, kernel_initializer=fresh_initializer(initializer), name=name)(x)
    if norm is not None:
        x = norm(name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _highway(x, channels, name, transform, gate, gate_bias):
    """`T(x) H(x) + (1 - T(x)) x`, as `x + T(x) (H(x) - x)`; both `(batch, ..., channels)`."""
    transformed = transform(x, channels, name)
    openness = gate(channels, bias_initializer=keras.initializers.Constant(gate_bias), name=f"{name}_gate")(x)
    change = keras.layers.Subtract(name=f"{name}_change")([transformed, x])
    return keras.layers.Add(name=f"{name}_add")([x, keras.layers.Multiply(name=f"{name}_gated")([openness, change])])


def _layers_per_group(depth):
    return repeats_of_depth(depth, step=3, offset=4, where="layout='conv'")


FAMILY = register_family(
    Family(
        name="highway",
        builder=build_highway,
        layouts={
            "dense": THIN_DENSE,
            "conv": Layout(
                depths=_layers_per_group,
                depth_rule="3 N + 4",
                search={"depth": "7-31", "width": "0.5-2"},
                channels=CHANNELS,
            ),
        },
        fields=("skips", "gate_bias"),
        arguments={"kernel_initializer": kernel_start},
        tags=lambda config: () if config.skips else ("plain",),
    )
)
