"""DiracNets and their plain twins (Zagoruyko & Komodakis 2017, arXiv:1706.00388, table 1 and section 3.5)."""

import functools

import keras

from dirac_keras.errors import UserError, check_choice
from dirac_keras.layers import BatchNormalization, DiracConv2D, DiracDense
from dirac_keras.models.blocks import (
    EPSILON,
    IMAGENET_BLOCKS,
    MOMENTUM,
    check_count,
    check_initializer,
    check_input_shape,
    check_positive,
    classifier_head,
    flat_input,
    fresh_initializer,
    repeats_of_depth,
    scaled_channels,
)
from dirac_keras.models.family import (
    THIN_DENSE,
    Family,
    Layout,
    kernel_start,
    register_family,
    renamed_arguments,
    size_label,
)

PARAMETERIZATIONS = {  # name -> arguments of the layers with weights
    "dirac": {},  # eq. 5
    "dirac_unnormalized": {"use_weight_norm": False},  # eq. 4
    "dirac_unscaled": {"use_identity_scale": False, "use_weight_norm": False},  # eq. 8
    "plain": {"kernel_initializer": "he_normal"},
}


@renamed_arguments(variant="layout")
def build_diracnet(
    depth,
    width=1,
    num_classes=10,
    input_shape=(32, 32, 3),
    layout="cifar",
    parameterization="dirac",
    kernel_initializer=None,
    filter_scale=0.1,
    identity_multipliers=False,
    units=50,
    classifier_activation=None,
    normalization=BatchNormalization,
    include_top=True,
    name=None,
):
    """A chain of ReLU, 3x3 convolution and BatchNormalization without a single skip connection.

    Args:
        depth: int. `6 N + 4` for `layout="cifar"` (10, 16, 22, 28, 34, ...), 18 or 34 for `"imagenet"`; any number of
            Dirac layers for `"dense"`.
        width: number above 0, factor `k` on the channels of every group; of no effect on `"dense"`.
        num_classes: int, outputs.
        input_shape: `(height, width, channels)`, a side may be None; any shape for `"dense"`, which flattens it.
        layout: `"cifar"`: 3x3 stem to `16 k`, groups of 16, 32, 64 times `k` channels. `"imagenet"`: 7x7/2 stem
            to 64, 3/2 max-pool, groups of 64, 128, 256, 512 times `k`. `"dense"`: an ordinary dense layer and BN, then
            ReLU, Dirac layer and BN, all of `units`, as the VAN paper compares with.
        parameterization: `"dirac"` (eq. 5), `"dirac_unnormalized"` (eq. 4), `"dirac_unscaled"` (eq. 8) or
            `"plain"`, the same network with ordinary convolutions (He-normal start).
        kernel_initializer: of the convolutions of the groups, or the Dirac layers of `"dense"`; None is the
            parameterization's own.
        filter_scale: number, where `b` starts with `"dirac"`; the others have none.
        identity_multipliers: whether the Dirac layers have the multipliers that `IdentityPhaseOut` takes their
            identities out by.
        units: int, of every hidden layer of `"dense"`.
        classifier_activation: of the last layer; None returns float32 logits.
        normalization: class of the BatchNormalization layers.
        include_top: bool. False leaves out pool and classifier: the features of the last layer, for another head.
        name: of the model; None makes one from the arguments.

    Returns: functional `keras.Model`, `(batch, *input_shape)` -> `(batch, num_classes)`. Layers are named by position:
        `conv1`, `group1_block1_conv`, `group1_block1_bn`, ..., `head_dense`; `dense1`, `block1_dense`, ... .
    Raises: ValueError: if a depth does not fit, with the nearest two that do, or an argument is out of range.
    Source: arXiv:1706.00388, table 1; for `"dense"`, Monti et al. (VAN), section 4.1. The first block's ReLU is the
        one that follows the stem.
    """
    check_positive("width", width)
    check_count("num_classes", num_classes)
    check_choice("parameterization", parameterization, PARAMETERIZATIONS)
    check_count("units", units)
    check_initializer("kernel_initializer", kernel_initializer)
    if parameterization == "dirac":
        check_positive("filter_scale", filter_scale, zero=True)
    if identity_multipliers and not has_identity_scale(parameterization):
        raise UserError(
            "identity_multipliers=True needs a scale a of the identity, parameterization='dirac' or "
            f"'dirac_unnormalized'. Received parameterization={parameterization!r}."
        )
    layer = _layer_maker(layout, parameterization, kernel_initializer, filter_scale, identity_multipliers)
    norm = functools.partial(normalization, epsilon=EPSILON, momentum=MOMENTUM)
    if layout == "dense":
        check_count("depth", depth)
        inputs, x = _dense_chain(input_shape, depth, units, layer, norm)
    else:
        inputs, x = _conv_chain(input_shape, convolutions_per_group(depth, layout), width, layout, layer, norm)
    x = keras.layers.ReLU(name="head_relu")(x)
    outputs = classifier_head(x, num_classes, classifier_activation) if include_top else x
    kind = "plain" if parameterization == "plain" else "diracnet"
    size = f"dense_{depth}_{units}" if layout == "dense" else f"{depth}_{width:g}"
    return keras.Model(inputs, outputs, name=name or f"{kind}_{size}".replace(".", "p"))


def has_identity_scale(parameterization):
    """Whether the layers of a parameterization train a scale a of the identity."""
    return parameterization in ("dirac", "dirac_unnormalized")


def _layer_maker(layout, parameterization, kernel_initializer, filter_scale, identity_multipliers):
    """A function `(channels, name) -> layer` for the layers of the chain."""
    classes = (keras.layers.Dense, DiracDense) if layout == "dense" else (keras.layers.Conv2D, DiracConv2D)
    arguments = dict(PARAMETERIZATIONS[parameterization])
    if parameterization == "dirac":
        arguments["filter_scale_initializer"] = keras.initializers.Constant(filter_scale)
    if identity_multipliers:
        arguments["use_identity_multiplier"] = True
    if layout != "dense":
        arguments.update(kernel_size=3, padding="same", use_bias=False)

    def layer(channels, name):
        if kernel_initializer is not None:
            arguments["kernel_initializer"] = fresh_initializer(kernel_initializer)
        return classes[parameterization != "plain"](channels, name=name, **arguments)

    return layer


def _dense_chain(input_shape, depth, units, layer, norm):
    inputs, x = flat_input(input_shape)  # (batch, features)
    x = keras.layers.Dense(units, kernel_initializer="he_normal", name="dense1")(x)
    x = norm(name="dense1_bn")(x)
    for block in range(1, depth + 1):
        x = relu_layer_bn(x, units, f"block{block}", "dense", layer, norm)
    return inputs, x


def _conv_chain(input_shape, blocks, width, layout, layer, norm):
    stem_channels = 16 if layout == "cifar" else 64
    stem = _cifar_stem if layout == "cifar" else _imagenet_stem
    # The stem and the pools between groups halve the sides; the last group still needs a pixel.
    shape = check_input_shape(input_shape, min_size=2 ** (len(blocks) - 1) * (1 if layout == "cifar" else 4))
    inputs = keras.Input(shape, name="images")
    x = stem(inputs, scaled_channels(stem_channels, width if layout == "cifar" else 1), norm)
    for group, num_blocks in enumerate(blocks, start=1):
        if group > 1:
            x = keras.layers.MaxPooling2D(2, name=f"group{group}_pool")(x)
        channels = scaled_channels(stem_channels * 2 ** (group - 1), width)
        for block in range(1, num_blocks + 1):
            x = relu_layer_bn(x, channels, f"group{group}_block{block}", "conv", layer, norm)
    return inputs, x


def convolutions_per_group(depth, layout):
    """Number of 3x3 convolutions in each group.

    Raises: ValueError: if `depth` does not fit `layout`, with the nearest two depths that do.
    """
    if layout == "imagenet":
        if depth not in IMAGENET_BLOCKS:
            raise UserError(f"depth must be 18 or 34 for layout='imagenet'. Received depth={depth!r}.")
        return tuple(2 * pairs for pairs in IMAGENET_BLOCKS[depth])
    if layout != "cifar":
        raise UserError(f"layout must be 'cifar', 'imagenet' or 'dense'. Received {layout!r}.")
    return (2 * repeats_of_depth(depth, step=6, offset=4, where="layout='cifar'"),) * 3


def relu_layer_bn(x, channels, name, kind, layer, norm):
    """One layer of the chain: ReLU, 3x3 convolution without bias or dense layer, BatchNormalization."""
    x = keras.layers.ReLU(name=f"{name}_relu")(x)
    x = layer(channels, f"{name}_{kind}")(x)
    return norm(name=f"{name}_bn")(x)


def _cifar_stem(x, channels, norm):
    x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name="conv1")(
        x
    )
    return norm(name="conv1_bn")(x)


def _imagenet_stem(x, channels, norm):
    # Padded by hand, evenly on all sides as in the authors' framework; Keras' "same" would shift by a pixel.
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = keras.layers.Conv2D(channels, 7, strides=2, use_bias=False, kernel_initializer="he_normal", name="conv1")(x)
    x = norm(name="conv1_bn")(x)
    # Zeros change nothing: the block that follows begins with a ReLU.
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name="pool1")(x)


def _label(config):
    layout = () if config.layout == FAMILY.default_layout else (config.layout,)
    return (config.parameterization, *layout, size_label(config))


FAMILY = register_family(
    Family(
        name="diracnet",
        builder=build_diracnet,
        layouts={
            "cifar": Layout(
                depths=lambda depth: convolutions_per_group(depth, "cifar"),
                depth_rule="6 N + 4",
                search={"depth": "10-40", "width": "0.5-2"},
                recipe="cifar",
                channels=(16, 32, 64),
            ),
            "imagenet": Layout(
                depths=lambda depth: convolutions_per_group(depth, "imagenet"),
                depth_rule="18 or 34",
                search={"depth": "18,34", "width": "0.25-1"},
                recipe="imagenet",
                channels=(64, 128, 256, 512),
                stem_stride=4,
            ),
            "dense": THIN_DENSE,
        },
        fields=("parameterization", "filter_scale"),
        training_fields=(
            *("identity_decay", "identity_bound", "identity_bound_start", "identity_bound_end"),
            *("dissolve_epoch", "kurtosis_penalty", "peak_penalty"),
            *("identity_phase_out", "identity_phase_out_start", "identity_multiplier"),
        ),
        arguments={
            "kernel_initializer": kernel_start,
            "identity_multipliers": lambda config: config.identity_phase_out is not None,
        },
        label=_label,
    )
)
