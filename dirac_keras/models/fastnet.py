"""A short, wide chain for trainings of minutes, in the manner of airbench94 (Jordan 2024, arXiv:2404.00498)."""

import functools

import keras

from dirac_keras.errors import check_choice
from dirac_keras.initializers import DiracStart
from dirac_keras.layers import BatchNormalization, DiracConv2D, Gelu, WhitenedConv2D
from dirac_keras.models.blocks import (
    EPSILON,
    check_count,
    check_initializer,
    check_input_shape,
    check_positive,
    fresh_initializer,
    head_dtype,
    repeats_of_depth,
    scaled_channels,
)
from dirac_keras.models.diracnet import PARAMETERIZATIONS
from dirac_keras.models.family import Family, Layout, kernel_start, register_family, size_label

CHANNELS = (64, 256, 256)  # of each group
PATCH = 2  # pixels, a side of the whitened patches
MOMENTUM = 0.6  # of the BatchNormalization statistics: in few, large batches the last ones count
HEAD_SCALE = 1 / 9  # factor on the logits
ACTIVATIONS = ("gelu", "relu")


def build_fastnet(
    depth=8,
    width=1,
    num_classes=10,
    input_shape=(32, 32, 3),
    parameterization="plain",
    activation="gelu",
    kernel_initializer=None,
    filter_scale=0.1,
    head_scale=HEAD_SCALE,
    classifier_activation=None,
    normalization=BatchNormalization,
    include_top=True,
    name=None,
):
    """A whitened 2x2 convolution, three groups of 3x3 convolutions, a global max-pool and one dense layer; no skip.

    The first convolution of a group is followed by its 2x2 max-pool, then every convolution by BatchNormalization
    without scale and by the activation. Before training `training.start_from_data` computes the first convolution from
    training images.

    Args:
        depth: int, `3 N + 2`: the whitened convolution, N convolutions in each of three groups, the dense layer.
        width: number above 0, factor on the channels 64, 256, 256 of the groups.
        num_classes: int, outputs.
        input_shape: `(height, width, channels)`, sides of 3 or more; None for a side is allowed. Where a side has no
            two pixels left, the group does not pool.
        parameterization: `"plain"`: ordinary convolutions that start as the identity (`DiracStart`); or one with Dirac
            layers as in `build_diracnet`, where the identity stays.
        activation: `"gelu"` or `"relu"`.
        kernel_initializer: of the 3x3 convolutions; None is `DiracStart`, or the Dirac layers' own.
        filter_scale: number, where `b` starts with `parameterization="dirac"`.
        head_scale: number above 0, factor on the logits.
        classifier_activation: of the outputs; None returns float32 logits.
        normalization: class of the BatchNormalization layers.
        include_top: bool. False leaves out pool and classifier: the features of the last layer, for another head.
        name: of the model; None makes one from the arguments.

    Returns: functional `keras.Model`, `(batch, height, width, channels)` -> `(batch, num_classes)`. Layers are named
        by position: `whiten`, `group1_conv1`, `group1_pool`, `group1_conv1_bn`, `group1_conv1_act`, ..., `head_scale`,
        `head_dense`.
    Raises: ValueError: if a depth does not fit, with the nearest two that do, or an argument is out of range.
    Source: arXiv:2404.00498, sections 3.1 to 3.3 and appendix A; github.com/KellerJordan/cifar10-airbench.
    """
    repeats = _repeats(depth)
    check_positive("width", width)
    check_count("num_classes", num_classes)
    check_choice("activation", activation, ACTIVATIONS)
    check_initializer("kernel_initializer", kernel_initializer)
    check_positive("head_scale", head_scale)
    layer = _layer_maker(parameterization, kernel_initializer, filter_scale)
    norm = functools.partial(normalization, epsilon=EPSILON, momentum=MOMENTUM, scale=False)
    inputs = keras.Input(check_input_shape(input_shape, min_size=PATCH + 1), name="images")
    # Without a bias nothing there trains, and no gradient has to come back through the largest images.
    x = WhitenedConv2D(2 * PATCH * PATCH * inputs.shape[-1], PATCH, use_bias=False, name="whiten")(inputs)
    x = _activate(x, activation, "whiten_act")
    for group, channels in enumerate(CHANNELS, start=1):
        for number in range(1, repeats + 1):
            place = f"group{group}_conv{number}"
            x = layer(scaled_channels(channels, width), place)(x)
            if number == 1 and all(side is None or side > 1 for side in x.shape[1:3]):
                x = keras.layers.MaxPooling2D(2, name=f"group{group}_pool")(x)
            x = norm(name=f"{place}_bn")(x)
            x = _activate(x, activation, f"{place}_act")
    outputs = _classifier(x, num_classes, head_scale, classifier_activation) if include_top else x
    return keras.Model(inputs, outputs, name=name or f"fastnet_{depth}_{width:g}".replace(".", "p"))


def _classifier(x, num_classes, head_scale, classifier_activation):
    x = keras.layers.GlobalMaxPooling2D(name="head_pool", dtype=head_dtype())(x)
    # As PyTorch starts a dense layer: U(-1/sqrt(n), 1/sqrt(n)).
    start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    x = keras.layers.Rescaling(head_scale, name="head_scale", dtype=head_dtype())(x)
    return keras.layers.Dense(
        num_classes,
        activation=classifier_activation,
        use_bias=False,
        kernel_initializer=start,
        name="head_dense",
        dtype=head_dtype(),
    )(x)


def _layer_maker(parameterization, kernel_initializer, filter_scale):
    """A function `(channels, name) -> layer` for the 3x3 convolutions."""
    check_choice("parameterization", parameterization, PARAMETERIZATIONS)
    is_plain = parameterization == "plain"
    arguments = {**PARAMETERIZATIONS[parameterization], "kernel_size": 3, "padding": "same", "use_bias": False}
    if parameterization == "dirac":
        check_positive("filter_scale", filter_scale, zero=True)
        arguments["filter_scale_initializer"] = keras.initializers.Constant(filter_scale)
    if kernel_initializer is None and is_plain:
        kernel_initializer = DiracStart()

    def layer(channels, name):
        if kernel_initializer is not None:
            arguments["kernel_initializer"] = fresh_initializer(kernel_initializer)
        return (keras.layers.Conv2D if is_plain else DiracConv2D)(channels, name=name, **arguments)

    return layer


def _activate(x, activation, name):
    if activation == "relu":
        return keras.layers.ReLU(name=name)(x)
    return Gelu(name=name)(x)


def _repeats(depth):
    return repeats_of_depth(depth, step=len(CHANNELS), offset=2, where="")


def _label(config):
    kernels = (
        () if config.parameterization == FAMILY.layout().defaults["parameterization"] else (config.parameterization,)
    )
    activation = () if config.activation == FAMILY.layout().defaults["activation"] else (config.activation,)
    return ("fastnet", size_label(config), *kernels, *activation)


FAMILY = register_family(
    Family(
        name="fastnet",
        builder=build_fastnet,
        layouts={
            "conv": Layout(
                depths=_repeats,
                depth_rule="3 N + 2",
                defaults={"depth": 8, "parameterization": "plain", "activation": "gelu"},
                search={"depth": "5,8,11", "width": "0.25-1"},
                recipe="fast",
                channels=CHANNELS,
            )
        },
        fields=("parameterization", "activation", "filter_scale"),
        arguments={"kernel_initializer": kernel_start},
        label=_label,
    )
)
