"""Variable Activation Networks (Monti, Tootoonian & Cao, "Avoiding degradation in deep feed-forward networks by phasing
out skip-connections")."""

import keras

from dirac_keras.errors import check_choice
from dirac_keras.layers import BatchNormalization, add_variable_skip
from dirac_keras.models.blocks import (
    check_count,
    check_initializer,
    check_positive,
    classifier_head,
    flat_input,
    repeats_of_depth,
)
from dirac_keras.models.family import Family, Layout, kernel_start, register_family, renamed_arguments
from dirac_keras.models.residual import dense_blocks, normalization_factory, ordinary_conv, ordinary_dense
from dirac_keras.models.resnet import residual_convolutions

LAYOUTS = ("dense", "conv")
GROUPS = 4  # of a convolutional network
# eta' / eta of the paper, sections 4.1 and 4.2: the step of the multipliers, as a share of the learning rate.
FRACTIONS = {"dense": 0.5, "conv": 0.1}


@renamed_arguments(kind="layout")
def build_van(
    layout="dense",
    depth=None,
    units=50,
    width=1,
    num_classes=10,
    input_shape=None,
    constrained=True,
    kernel_initializer=None,
    classifier_activation=None,
    normalization=BatchNormalization,
    include_top=True,
    name=None,
):
    """A network of blocks `F(x) + (1 - alpha) x` (eq. 4): `build_resnet`'s at its start, plain when alpha is 1.

    Train it with the callback `SkipPhaseOut`; `fold` then makes a chain without any addition of it.

    Args:
        layout: `"dense"`: the network of `build_resnet(layout="dense")`, `depth` blocks of `units`. `"conv"`: that of
            `build_resnet(layout="van")`, four groups of n blocks, `depth` = 8 n + 2.
        depth: int; None is 30 for `"dense"` and 26 for `"conv"`.
        units: int, of the layers of `"dense"`.
        width: number above 0, factor on the channels 16, 32, 64, 128 of the groups of `"conv"`.
        num_classes: int, outputs.
        input_shape: `(height, width, channels)`, or any shape for `"dense"`, which flattens it. None is (28, 28, 1)
            for `"dense"` and (32, 32, 3) for `"conv"`.
        constrained: bool. False is VAN(lambda = 0), whose skips no multiplier takes away.
        kernel_initializer: of every layer but the classifier, Keras' or its name; None is He-normal.
        classifier_activation: of the last layer; None returns float32 logits.
        normalization: class of the BatchNormalization layers.
        include_top: bool. False leaves out pool and classifier: the features of the last layer, for another head.
        name: of the model; None makes one from the arguments.

    Returns: functional `keras.Model`, `(batch, *input_shape)` -> `(batch, num_classes)`. Layers have the names that
        `build_resnet` gives them, and each `..._add` a `VariableSkip` `..._skip` before it.
    Raises: ValueError: if an argument is unknown or out of range; with the nearest two depths if one does not fit.
    Source: section 4. A projection W' (eq. 1) stands before its VariableSkip.
    """
    check_choice("layout", layout, LAYOUTS)
    check_count("units", units)
    check_positive("width", width)
    check_count("num_classes", num_classes)
    check_initializer("kernel_initializer", kernel_initializer)
    norm = normalization_factory(normalization)

    def join(skip, residual, block):
        return add_variable_skip(residual, skip, name=block, constrained=constrained)

    if layout == "dense":
        depth = 30 if depth is None else depth
        check_count("depth", depth)
        inputs, x = flat_input((28, 28, 1) if input_shape is None else input_shape)
        x = dense_blocks(x, units, depth, ordinary_dense(kernel_initializer), norm, join)
    else:
        depth = 26 if depth is None else depth
        num_blocks = (_blocks_per_group(depth),) * GROUPS
        shape = (32, 32, 3) if input_shape is None else input_shape
        inputs, x = residual_convolutions(shape, num_blocks, width, ordinary_conv(kernel_initializer), norm, join)
    outputs = classifier_head(x, num_classes, classifier_activation) if include_top else x
    size = f"{units}" if layout == "dense" else f"{width:g}"
    default_name = f"van_{layout}_{depth}_{size}".replace(".", "p") + ("" if constrained else "_unconstrained")
    return keras.Model(inputs, outputs, name=name or default_name)


def _blocks_per_group(depth):
    return repeats_of_depth(depth, step=2 * GROUPS, offset=2, where="layout='conv'")


FAMILY = register_family(
    Family(
        name="van",
        builder=build_van,
        layouts={
            "dense": Layout(
                size="units",
                defaults={"units": 50, "phase_out_fraction": FRACTIONS["dense"]},
                search={"depth": "5-30:5", "units": "25,50,100", "phase_out_share": "0.25-0.75"},
                recipe="van_dense",
            ),
            "conv": Layout(
                depths=_blocks_per_group,
                depth_rule="8 N + 2",
                defaults={"phase_out_fraction": FRACTIONS["conv"]},
                search={"depth": "10-34", "width": "0.5-2", "phase_out_share": "0.25-0.75"},
                recipe="van",
                channels=(16, 32, 64, 128),
            ),
        },
        arguments={"constrained": lambda config: config.skip_constraint, "kernel_initializer": kernel_start},
        training_fields=("skip_constraint", "phase_out_fraction", "phase_out_start", "phase_out_end"),
        tags=lambda config: () if config.skip_constraint else ("unconstrained",),
    )
)
