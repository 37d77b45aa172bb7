"""PlainNets (Oyedotun et al., "Revisiting the Training of Very Deep Neural Networks without Skip Connections")."""

import functools

import keras

from dirac_keras.constraints import MaxNorm
from dirac_keras.errors import UserError, check_choice
from dirac_keras.layers import BatchNormalization
from dirac_keras.models.blocks import (
    EPSILON,
    MOMENTUM,
    check_count,
    check_initializer,
    check_input_shape,
    check_positive,
    classifier_head,
    flat_input,
    fresh_initializer,
)
from dirac_keras.models.family import Family, Layout, kernel_start, register_family, renamed_arguments

COMPONENTS = ("bn", "lrelu", "maxnorm")
SCENARIOS = {"naive": (), "proposed": COMPONENTS}  # beside these: one component, or several joined by "+"
LAYOUTS = ("dense", "conv50")

# Table A1: filters and kernel size of each layer. Conv_49 is missing there: 96 filters of 3x3 give the 50 layers and
# the 0.72 M parameters that the text states.
_FIRST = ((16, 3), (16, 1), (16, 3), (32, 1)) + ((16, 1), (16, 3), (32, 1)) * 4 + ((48, 1),)
_SECOND = ((48, 1), (64, 3), (64, 1)) + ((48, 1), (48, 3), (64, 1)) * 5 + ((80, 3),)
_THIRD = ((80, 1), (80, 3), (96, 1)) + ((80, 1), (80, 3), (96, 1)) * 3 + ((96, 3), (128, 3))
CONV50_GROUPS = (_FIRST, _SECOND, _THIRD)


@renamed_arguments(kind="layout")
def build_plainnet(
    layout="dense",
    depth=None,
    units=300,
    num_classes=10,
    input_shape=(16, 16, 1),
    scenario="proposed",
    initializer="he_uniform",
    negative_slope=0.3,
    max_norm=3.0,
    classifier_activation=None,
    normalization=BatchNormalization,
    include_top=True,
    name=None,
):
    """A chain `H_l = f(BN(W_l H_{l-1}))` without skip connections (eq. 2 and 3), in the paper's scenarios.

    Args:
        layout: `"dense"`, `depth` hidden layers of `units`; or `"conv50"`, the 50 convolutions of table A1.
        depth: int, hidden layers; None is 100, or the 50 of `"conv50"`, which has no other.
        units: int, of each hidden layer of `"dense"`.
        num_classes: int, outputs.
        input_shape: `(height, width, channels)`, or any shape for `"dense"`, which flattens it.
        scenario: `"naive"` (ReLU), `"bn"` (BatchNormalization and ReLU), `"proposed"` (all three), or any of the
            components `bn`, `lrelu` (LeakyReLU instead of ReLU), `maxnorm`: `"bn+lrelu"`, `{"bn", "lrelu"}`.
        initializer: of the hidden layers' kernels (the classifier's is Glorot-uniform), Keras' or its name.
        negative_slope: number of 0 or more, of LeakyReLU.
        max_norm: number above 0, bound on the norm of each hidden unit's weight vector.
        classifier_activation: of the last layer; None returns float32 logits.
        normalization: class of the BatchNormalization layers.
        include_top: bool. False leaves out pool and classifier: the features of the last layer, for another head.
        name: of the model; None makes one from the arguments.

    Returns: functional `keras.Model`, `(batch, *input_shape)` -> `(batch, num_classes)`. Layers are named by position:
        `dense1`, `dense1_bn`, `dense1_act`, ..., `head_dense`, and `conv1`, ... likewise.
    Raises: ValueError: if an argument is unknown or out of range.
    Source: tables I, II and A1, section VI.C. Dense layers keep their bias beside BatchNormalization, which table I's
        parameter counts show; convolutions before BatchNormalization have none.
    """
    check_choice("layout", layout, LAYOUTS)
    components = scenario_components(scenario)
    depth = _check_depth(layout, depth)
    check_count("units", units)
    check_count("num_classes", num_classes)
    check_positive("negative_slope", negative_slope, zero=True)
    check_initializer("initializer", initializer)
    check_positive("max_norm", max_norm)
    constraint = MaxNorm(max_norm) if "maxnorm" in components else None
    norm = functools.partial(normalization, epsilon=EPSILON, momentum=MOMENTUM) if "bn" in components else None

    def normalize_and_activate(x, layer_name):
        if norm is not None:
            x = norm(name=f"{layer_name}_bn")(x)
        if "lrelu" in components:
            return keras.layers.LeakyReLU(negative_slope, name=f"{layer_name}_act")(x)
        return keras.layers.ReLU(name=f"{layer_name}_act")(x)

    options = {"kernel_constraint": constraint}
    if layout == "dense":
        inputs, x = _dense_chain(input_shape, depth, units, initializer, options, normalize_and_activate)
    else:
        options["use_bias"] = norm is None
        inputs, x = _conv50_chain(input_shape, initializer, options, normalize_and_activate)
    outputs = classifier_head(x, num_classes, classifier_activation) if include_top else x
    default_name = "_".join(["plainnet", layout if layout == "conv50" else f"{depth}", *(components or ("naive",))])
    return keras.Model(inputs, outputs, name=name or default_name)


def scenario_components(scenario):
    """The components of a scenario in the order of `COMPONENTS`, as a tuple.

    Raises: ValueError: if it is no scenario and no set of components.
    """
    if isinstance(scenario, str):
        asked = SCENARIOS[scenario] if scenario in SCENARIOS else [part.strip() for part in scenario.split("+")]
    else:
        asked = scenario if isinstance(scenario, (tuple, list, set, frozenset)) else (scenario,)
    if not all(component in COMPONENTS for component in asked):
        raise UserError(
            f"scenario must be naive, proposed, or some of {', '.join(COMPONENTS)} joined by '+', as in 'bn+lrelu'. "
            f"Received scenario={scenario!r}."
        )
    return tuple(component for component in COMPONENTS if component in asked)


def _check_depth(layout, depth):
    if layout == "conv50":
        if depth not in (None, 50):
            raise UserError(f"depth must be 50, or None, for layout='conv50'. Received depth={depth!r}.")
        return 50
    if depth is None:
        return 100
    check_count("depth", depth)
    return depth


def _dense_chain(input_shape, depth, units, initializer, options, normalize_and_activate):
    inputs, x = flat_input(input_shape)  # (batch, features)
    for layer in range(1, depth + 1):
        x = keras.layers.Dense(
            units, kernel_initializer=fresh_initializer(initializer), name=f"dense{layer}", **options
        )(x)
        x = normalize_and_activate(x, f"dense{layer}")
    return inputs, x


def _conv50_chain(input_shape, initializer, options, normalize_and_activate):
    # Two pools: 2/2, then 3/2 without padding, which needs 3 pixels.
    inputs = keras.Input(check_input_shape(input_shape, min_size=6), name="images")
    x, layer = inputs, 0
    for group, layers in enumerate(CONV50_GROUPS, start=1):
        if group > 1:
            x = keras.layers.MaxPooling2D(group, strides=2, name=f"pool{group - 1}")(x)
        for filters, kernel_size in layers:
            layer += 1
            start = fresh_initializer(initializer)
            x = keras.layers.Conv2D(
                filters, kernel_size, padding="same", kernel_initializer=start, name=f"conv{layer}", **options
            )(x)
            x = normalize_and_activate(x, f"conv{layer}")
    return inputs, x


FAMILY = register_family(
    Family(
        name="plainnet",
        builder=build_plainnet,
        layouts={
            "dense": Layout(
                size="units",
                defaults={"units": 300},
                search={"depth": "10-100:10", "units": "100,200,300"},
                recipe="plainnet",
            ),
            "conv50": Layout(
                depths=lambda depth: depth == 50,
                depth_rule="50",
                size=None,
                search={"depth": "50"},
                recipe="plainnet",
                channels=(16, 48, 80),  # of the 3x3 convolutions, between 1x1 ones
            ),
        },
        fields=("scenario",),
        arguments={"initializer": lambda config: kernel_start(config, own="he_uniform")},
        tags=lambda config: (config.scenario,),
    )
)
