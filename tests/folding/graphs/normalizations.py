"""Normalizing parts; batch normalization is what folding is about, so it comes often."""

from keras import layers

from dirac_keras.layers import BatchNormalization
from tests.folding.graphs.catalogue import part


@part(weight=28, takes_integers=True)
def batch_normalization(site, x):
    axis = site.channel_axis(x)
    if site.choices.chance(0.08):
        axis = site.choices.pick([place for place, length in enumerate(x.shape) if place and length is not None])
    kind = site.choices.pick([layers.BatchNormalization, layers.BatchNormalization, BatchNormalization])
    return kind(
        axis=axis - len(x.shape) if site.choices.chance(0.5) else axis,
        center=site.choices.chance(0.8),
        scale=site.choices.chance(0.8),
        epsilon=site.choices.pick([1e-3, 1e-5, 0.1]),
        dtype=site.dtype(),
    )(x)


@part(weight=1, fits=lambda site, x: x.shape[-1] is not None and x.shape[-1] > 2)
def layer_normalization(site, x):
    return layers.LayerNormalization(center=site.choices.chance(0.7), scale=site.choices.chance(0.7))(x)


@part(weight=1, ranks=(3, 4, 5), needs_known=True, fits=lambda site, x: site.channels(x) % 2 == 0)
def group_normalization(site, x):
    return layers.GroupNormalization(groups=2, axis=site.channel_axis(x))(x)


@part(weight=1, fits=lambda site, x: site.channels(x) > 2)
def unit_normalization(site, x):
    return layers.UnitNormalization(axis=site.channel_axis(x))(x)
