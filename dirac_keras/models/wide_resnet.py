"""Wide Residual Networks (Zagoruyko & Komodakis 2016, arXiv:1605.07146) and their plain twins."""

import keras

from dirac_keras.layers import BatchNormalization
from dirac_keras.models.blocks import (
    check_count,
    check_input_shape,
    check_positive,
    classifier_head,
    repeats_of_depth,
    scaled_channels,
)
from dirac_keras.models.family import Family, Layout, kernel_start, register_family
from dirac_keras.models.residual import add_skip, dirac_conv, normalization_factory, ordinary_conv, residual_groups
from dirac_keras.models.resnet import check_start, classifier_start, residual_tags

STEM_CHANNELS = 16


def build_wide_resnet(
    depth,
    width=1,
    num_classes=10,
    input_shape=(32, 32, 3),
    skips=True,
    sigma=None,
    kernel_initializer=None,
    classifier_activation=None,
    normalization=BatchNormalization,
    include_top=True,
    name=None,
):
    """A Wide ResNet: 3x3 stem of 16 channels, three groups of 16, 32, 64 times `k`, without dropout.

    Args:
        depth: int, `6 N + 4` (10, 16, 22, 28, 40, ...): the convolutions of `k > 1`, three projections among them.
        width: number above 0, the factor `k`.
        num_classes: int, outputs.
        input_shape: `(height, width, channels)`; a side may be None.
        skips: bool. False is the plain network: neither skips nor their projections.
        sigma: number of 0 or more. Kernels are `I + W` with W from N(0, sigma^2) (eq. 8 of DiracNets), the
            classifier's is W. None: ordinary kernels. The paper's ResNet-28 is `depth=28, width=1`.
        kernel_initializer: of ordinary kernels but the classifier's; None is He-normal. Beside `sigma`,
            `"orthogonal"`: W is a random orthogonal matrix times sigma.
        classifier_activation: of the last layer; None returns float32 logits.
        normalization: class of the BatchNormalization layers.
        include_top: bool. False leaves out pool and classifier: the features of the last layer, for another head.
        name: of the model; None makes one from the arguments.

    Returns: functional `keras.Model`, `(batch, height, width, channels)` -> `(batch, num_classes)`. Layers are named
        by position: `conv1`, `group1_block1_bn1`, ..., `group1_block1_add`, ..., `head_dense`.
    Raises: ValueError: if a depth does not fit, with the nearest two that do, or an argument is out of range.
    Source: arXiv:1605.07146, table 1, and the authors' code; `sigma`: arXiv:1706.00388, section 3.4.
    """
    check_positive("width", width)
    check_count("num_classes", num_classes)
    check_start(sigma, kernel_initializer)
    num_blocks = _blocks_per_group(depth)
    norm = normalization_factory(normalization)
    conv = ordinary_conv(kernel_initializer) if sigma is None else dirac_conv(sigma, kernel_initializer)
    inputs = keras.Input(check_input_shape(input_shape, min_size=4), name="images")
    x = conv(inputs, STEM_CHANNELS, 3, 1, "conv1")
    channels = [scaled_channels(STEM_CHANNELS * 2**group, width) for group in range(3)]
    join = add_skip if skips else None
    x = residual_groups(x, channels, (num_blocks,) * 3, conv, norm, join, preactivate_first=True)
    start = classifier_start(sigma, kernel_initializer)
    outputs = classifier_head(x, num_classes, classifier_activation, start) if include_top else x
    default_name = f"{'wide_resnet' if skips else 'plain_wide_resnet'}_{depth}_{width:g}".replace(".", "p")
    return keras.Model(inputs, outputs, name=name or default_name)


def _blocks_per_group(depth):
    return repeats_of_depth(depth, step=6, offset=4, where="")


FAMILY = register_family(
    Family(
        name="wide_resnet",
        builder=build_wide_resnet,
        layouts={
            "conv": Layout(
                depths=_blocks_per_group,
                depth_rule="6 N + 4",
                search={"depth": "10-40", "width": "0.5-2"},
                recipe="wide_resnet",
                channels=(16, 32, 64),
            )
        },
        fields=("skips", "sigma"),
        arguments={"kernel_initializer": kernel_start},
        tags=residual_tags,
    )
)
