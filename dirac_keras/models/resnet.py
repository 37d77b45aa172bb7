"""Pre-activation ResNets and their plain twins: for CIFAR, of the VAN paper, for ImageNet, and of dense layers."""

import keras

from dirac_keras.errors import UserError, check_choice
from dirac_keras.layers import BatchNormalization
from dirac_keras.models.blocks import (
    IMAGENET_BLOCKS,
    check_count,
    check_initializer,
    check_input_shape,
    check_positive,
    classifier_head,
    flat_input,
    repeats_of_depth,
    scaled_channels,
)
from dirac_keras.models.family import THIN_DENSE, Family, Layout, kernel_start, register_family, renamed_arguments
from dirac_keras.models.residual import (
    add_skip,
    dense_blocks,
    dirac_conv,
    dirac_dense,
    normalization_factory,
    ordinary_conv,
    ordinary_dense,
    residual_groups,
    start_of_sigma,
)

ORTHOGONAL = "orthogonal"  # the initializer that is known beside `sigma`
LAYOUTS = ("cifar", "van", "imagenet", "dense")


@renamed_arguments(variant="layout")
def build_resnet(
    depth,
    width=1,
    num_classes=10,
    input_shape=(32, 32, 3),
    layout="cifar",
    units=50,
    skips=True,
    sigma=None,
    kernel_initializer=None,
    classifier_activation=None,
    normalization=BatchNormalization,
    include_top=True,
    name=None,
):
    """A pre-activation ResNet, `x + F(x)` in every block, or the same network without the skips.

    Args:
        depth: int. `6 N + 2` for `layout="cifar"` (20, 32, 44, 56, 110, ...), `8 N + 2` for `"van"` (10, 18, 26, ...),
            18 or 34 for `"imagenet"`; any number of residual blocks for `"dense"`.
        width: number above 0, factor `k` on the channels of every group; of no effect on `"dense"`.
        num_classes: int, outputs.
        input_shape: `(height, width, channels)`, a side may be None; any shape for `"dense"`, which flattens it.
        layout: `"cifar"`: 3x3 stem, groups of 16, 32, 64 times `k` channels. `"van"`: a fourth group of `128 k`.
            `"imagenet"`: 7x7/2 stem, 3/2 max-pool, groups of 64, 128, 256, 512 times `k`. A stem has the channels of
            the first group. `"dense"`: a dense layer, then blocks of BN, ReLU and a dense layer, all of `units`.
        units: int, of every hidden layer of `"dense"`.
        skips: bool. False is the plain network: neither skips nor their projections.
        sigma: number of 0 or more. Kernels are `I + W` with W from N(0, sigma^2) (eq. 8 of DiracNets), the
            classifier's is W. None: ordinary kernels.
        kernel_initializer: of ordinary kernels but the classifier's; None is He-normal. Beside `sigma`,
            `"orthogonal"`: W is a random orthogonal matrix times sigma.
        classifier_activation: of the last layer; None returns float32 logits.
        normalization: class of the BatchNormalization layers.
        include_top: bool. False leaves out pool and classifier: the features of the last layer, for another head.
        name: of the model; None makes one from the arguments.

    Returns: functional `keras.Model`, `(batch, *input_shape)` -> `(batch, num_classes)`. Layers are named by position:
        `conv1`, `conv1_bn`, `group1_block1_conv1`, `group1_block1_add`, ..., `head_dense`; `dense1`, `block1_bn`, ... .
    Raises: ValueError: if a depth does not fit, with the nearest two that do, or an argument is out of range.
    Source: He et al. 2016, arXiv:1603.05027; Monti et al. (VAN), section 4; `sigma`: Zagoruyko & Komodakis 2017,
        arXiv:1706.00388, section 3.4.
    """
    check_choice("layout", layout, LAYOUTS)
    check_positive("width", width)
    check_count("num_classes", num_classes)
    check_count("units", units)
    check_start(sigma, kernel_initializer)
    norm = normalization_factory(normalization)
    join = add_skip if skips else None
    if layout == "dense":
        check_count("depth", depth)
        inputs, x = flat_input(input_shape)
        dense = ordinary_dense(kernel_initializer) if sigma is None else dirac_dense(sigma, kernel_initializer)
        x = dense_blocks(x, units, depth, dense, norm, join)
    else:
        num_blocks = blocks_per_group(depth, layout)
        conv = ordinary_conv(kernel_initializer) if sigma is None else dirac_conv(sigma, kernel_initializer)
        inputs, x = residual_convolutions(input_shape, num_blocks, width, conv, norm, join, layout == "imagenet")
    start = classifier_start(sigma, kernel_initializer)
    outputs = classifier_head(x, num_classes, classifier_activation, start) if include_top else x
    size = f"{units}" if layout == "dense" else f"{width:g}"
    default_name = f"{'resnet' if skips else 'plain_resnet'}_{layout}_{depth}_{size}".replace(".", "p")
    return keras.Model(inputs, outputs, name=name or default_name)


def residual_convolutions(input_shape, num_blocks, width, conv, norm, join, imagenet=False):
    """Stem and groups of a convolutional network, up to its last BN and ReLU.

    Args:
        num_blocks: sequence of int, one a group; each group has twice the channels of the one before.
        width: factor on the channels, of which the first group has 16, or 64 with `imagenet`.
        conv, norm, join: see `residual`.
        imagenet: bool, whether the stem is 7x7/2 with a pool behind it.

    Returns: the input tensor and the features `(batch, height, width, channels)`.
    """
    # Every group but the first halves the sides, as the ImageNet stem and its pool do; a pixel must be left.
    smallest = 2 ** (len(num_blocks) - 1) * (4 if imagenet else 1)
    inputs = keras.Input(check_input_shape(input_shape, min_size=smallest), name="images")
    channels = [scaled_channels((64 if imagenet else 16) * 2**group, width) for group in range(len(num_blocks))]
    x = (_imagenet_stem if imagenet else _cifar_stem)(inputs, channels[0], conv, norm)
    return inputs, residual_groups(x, channels, num_blocks, conv, norm, join)


def blocks_per_group(depth, layout):
    """Number of residual blocks in each group.

    Raises: ValueError: if `depth` does not fit `layout`, with the nearest two depths that do.
    """
    if layout == "imagenet":
        if depth not in IMAGENET_BLOCKS:
            raise UserError(f"depth must be 18 or 34 for layout='imagenet'. Received depth={depth!r}.")
        return IMAGENET_BLOCKS[depth]
    groups = {"cifar": 3, "van": 4}[layout]
    return (repeats_of_depth(depth, step=2 * groups, offset=2, where=f"layout={layout!r}"),) * groups


def check_start(sigma, kernel_initializer):
    """Raise ValueError unless `sigma` is None or a number of 0 or more, and beside it there is at most "orthogonal"."""
    check_initializer("kernel_initializer", kernel_initializer)
    if sigma is not None:
        check_positive("sigma", sigma, zero=True)
        if kernel_initializer not in (None, ORTHOGONAL):
            raise UserError(
                f"sigma is the start of the kernels, so kernel_initializer must be None beside it, or {ORTHOGONAL!r}. "
                f"Received sigma={sigma!r}, kernel_initializer={kernel_initializer!r}."
            )


def classifier_start(sigma, kernel_initializer=None):
    """Initializer of the classifier's kernel: with `sigma`, "all weights" start so, this one too."""
    return "glorot_uniform" if sigma is None else start_of_sigma(sigma, kernel_initializer)


def _cifar_stem(x, channels, conv, norm):
    x = conv(x, channels, 3, 1, "conv1")
    return keras.layers.ReLU(name="conv1_relu")(norm(name="conv1_bn")(x))


def _imagenet_stem(x, channels, conv, norm):
    x = conv(x, channels, 7, 2, "conv1")
    x = keras.layers.ReLU(name="conv1_relu")(norm(name="conv1_bn")(x))
    # Zeros change nothing behind a ReLU; Keras' "same" would pad unevenly.
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name="pool1")(x)


def residual_tags(config):
    """Whether a residual network is without its skips, and the deviation its kernels start with."""
    sigma = () if config.sigma is None else (f"sigma{config.sigma:g}",)
    return (*(() if config.skips else ("plain",)), *sigma)


FAMILY = register_family(
    Family(
        name="resnet",
        builder=build_resnet,
        layouts={
            "cifar": Layout(
                depths=lambda depth: blocks_per_group(depth, "cifar"),
                depth_rule="6 N + 2",
                search={"depth": "8-44", "width": "0.5-2"},
                recipe="van",  # that of He et al. 2016
                channels=(16, 32, 64),
            ),
            "van": Layout(
                depths=lambda depth: blocks_per_group(depth, "van"),
                depth_rule="8 N + 2",
                search={"depth": "10-34", "width": "0.5-2"},
                recipe="van",
                channels=(16, 32, 64, 128),
            ),
            "imagenet": Layout(
                depths=lambda depth: blocks_per_group(depth, "imagenet"),
                depth_rule="18 or 34",
                search={"depth": "18,34", "width": "0.25-1"},
                recipe="imagenet",
                channels=(64, 128, 256, 512),
                stem_stride=4,
            ),
            "dense": THIN_DENSE,
        },
        fields=("skips", "sigma"),
        arguments={"kernel_initializer": kernel_start},
        tags=residual_tags,
    )
)
