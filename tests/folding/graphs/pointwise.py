"""Parts that work number by number: activations, constants, what is idle at inference, casts."""

import keras
from keras import layers, ops

from dirac_keras.layers import VariableSkip
from tests.folding.graphs.catalogue import part
from tests.folding.graphs.site import is_float


def steeper(x):
    """An activation that is a plain function of the user's."""
    return ops.relu(x) * 1.25


@part(weight=8)
def activation(site, x):
    return site.choices.pick(
        [
            lambda: layers.ReLU(),
            lambda: layers.Activation(site.choices.pick(["relu", "tanh", "gelu", "linear", "sigmoid"])),
            lambda: layers.LeakyReLU(negative_slope=0.2),
            lambda: layers.ELU(),
            lambda: layers.ReLU(max_value=2.0),
            lambda: layers.Softmax(axis=site.channel_axis(x)),
        ]
    )()(x)


@part(weight=1)
def own_activation(site, x):
    return layers.Activation(steeper)(x)


@part(weight=1, needs_known=True)
def prelu(site, x):
    places = [place for place in range(1, len(x.shape)) if place != site.channel_axis(x)]
    return layers.PReLU(shared_axes=places if places and site.choices.chance(0.7) else None)(x)


@part(weight=3)
def raw_activation(site, x):
    return site.choices.pick([ops.relu, ops.tanh, ops.abs, ops.sigmoid, lambda y: ops.clip(y, -1.0, 1.0)])(x)


@part(weight=4)
def idle(site, x):
    options = [
        lambda: layers.Dropout(0.3),
        lambda: layers.GaussianNoise(0.1),
        lambda: layers.GaussianDropout(0.1),
        lambda: layers.Identity(),
        lambda: layers.ActivityRegularization(l2=0.01),
    ]
    return site.choices.pick(options)()(x)


@part(weight=6)
def constant_scale_or_shift(site, x):
    shape = [1] * len(x.shape)
    shape[site.channel_axis(x)] = site.channels(x)
    number = site.choices.pick([2.0, -0.5, 0.25])
    vector = site.constant(shape) if site.choices.chance(0.6) else number
    positive = abs(vector) + 0.5
    return site.choices.pick(
        [
            lambda: x * vector,
            lambda: x + vector,
            lambda: number - x,
            lambda: x - vector,
            lambda: x / positive,
            lambda: -x,
            lambda: ops.multiply(vector, x),
            lambda: ops.add(vector, x),
            lambda: ops.subtract(vector, x),
            lambda: ops.maximum(x, vector),
            lambda: number / (ops.abs(x) + 1.0),
        ]
    )()


@part(weight=3, takes_integers=True)
def rescaling(site, x):
    if not is_float(x):
        return layers.Rescaling(1.0 / 127.5, offset=-1.0)(x)
    return layers.Rescaling(site.choices.pick([0.5, -2.0]), offset=site.choices.pick([0.0, 0.25]))(x)


@part(weight=1, takes_integers=True)
def normalization(site, x):
    channels = site.channels(x)
    mean, variance = site.constant(channels), abs(site.constant(channels)) + 0.25
    layer = layers.Normalization(axis=site.channel_axis(x), mean=mean, variance=variance, dtype=site.dtype())
    return layer(x)


@part(weight=1)
def adapted_normalization(site, x):
    layer = layers.Normalization(axis=site.channel_axis(x))
    shape = [4 if length is None else length for length in x.shape]
    layer.adapt(site.constant(shape))
    return layer(x)


@part(weight=2)
def cast(site, x):
    dtype = site.choices.pick(["float16", "float64", "bfloat16", "float32"]) if site.is_mixed else "float32"
    return ops.cast(x, site.precision or dtype)


@part(weight=2)
def skip(site, x):
    return variable_skip(site, x)


def variable_skip(site, x):
    """Sealed, or of any openness: `weights.randomize` leaves the initial alpha."""
    alpha = site.choices.pick(["ones", "ones", 0.5])
    if alpha != "ones":
        alpha = keras.initializers.RandomUniform(0.2, 0.9, seed=3)
    return VariableSkip(axis=site.channel_axis(x), alpha_initializer=alpha)(x)


@part(weight=1)
def lambda_layer(site, x):
    return layers.Lambda(halve, output_shape=x.shape[1:])(x)


@keras.saving.register_keras_serializable(package="graphs")
def halve(x):
    return 0.5 * x
