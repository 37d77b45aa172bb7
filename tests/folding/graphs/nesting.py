"""Models inside the model: functional and Sequential, shared, called by keyword, with dict inputs."""

import keras
from keras import layers

from tests.folding.graphs.catalogue import part
from tests.folding.graphs.walk import add_parts


def _may_nest(site, x):
    return site.depth < 2


@part(weight=5, fits=_may_nest)
def functional(site, x):
    inner = keras.Input(batch_shape=x.shape, dtype=x.dtype)
    model = keras.Model(inner, add_parts(site.inner(), [inner], site.choices.integer(1, 4))[-1])
    y = model(inputs=x) if site.choices.chance(0.3) else model(x)
    if site.choices.chance(0.25):  # shared
        again = model(layers.ReLU()(x))
        return layers.Add()([y, again]) if site.choices.chance(0.7) else [y, again]
    return y


@part(weight=2, fits=_may_nest)
def sequential(site, x):
    units, channels = site.filters(), x.shape[-1]
    parts = [
        layers.BatchNormalization(),
        layers.Dense(units) if channels is not None else layers.ReLU(),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dropout(0.1),
        layers.BatchNormalization(),
    ]
    if channels is None:
        return layers.ReLU()(x)
    kept = [layer for layer in parts if site.choices.chance(0.6)] or parts[:1]
    given = [keras.Input(batch_shape=x.shape, dtype=x.dtype)] if site.choices.chance(0.5) else []
    return keras.Sequential([*given, *kept])(x)


@part(weight=2, fits=_may_nest)
def several_inputs(site, x):
    """A nested model that takes a dict, a list or a tuple."""
    kind = site.choices.pick(["dict", "list"])
    inner = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=name) for name in ("left", "right")]
    axis = site.channel_axis(x)
    left = layers.BatchNormalization(axis=axis)(inner[0])
    merged = site.choices.pick([layers.Add, layers.Subtract, layers.Average])()([left, inner[1]])
    outputs = add_parts(site.inner(), [merged], 1)[-1]
    other = layers.ReLU()(x)
    if kind == "dict":
        model = keras.Model({"left": inner[0], "right": inner[1]}, outputs)
        return model({"left": x, "right": other})
    return keras.Model(inner, outputs)([x, other])
