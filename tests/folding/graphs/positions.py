"""Parts that move, drop or repeat positions: pooling, padding, cropping, reshaping."""

import math

from keras import layers, ops

from tests.folding.graphs.catalogue import part
from tests.folding.graphs.kernels import of_rank
from tests.folding.graphs.site import is_known


@part(weight=5, ranks=(3, 4, 5), smallest=3)
def pooling(site, x):
    kind = site.choices.pick(["AveragePooling{}", "MaxPooling{}"])
    return of_rank(kind, x)(
        site.choices.pick([2, 3]),
        strides=site.choices.pick([None, 1, 2]),
        padding=site.choices.pick(["valid", "same"]),
        data_format=site.data_format,
    )(x)


@part(weight=3, ranks=(3, 4, 5))
def global_pooling(site, x):
    kind = site.choices.pick(["GlobalAveragePooling{}", "GlobalMaxPooling{}"])
    return of_rank(kind, x)(keepdims=site.choices.chance(0.3), data_format=site.data_format)(x)


def _of_format(site, x):
    return {} if len(x.shape) == 3 else {"data_format": site.data_format}


def _is_last(site, x):
    return site.data_format == "channels_last" or len(x.shape) > 3


@part(weight=3, ranks=(3, 4, 5), fits=_is_last)
def zero_padding(site, x):
    return of_rank("ZeroPadding{}", x)(site.choices.pick([1, 2]), **_of_format(site, x))(x)


@part(weight=2, ranks=(3, 4, 5), smallest=4, fits=_is_last)
def cropping(site, x):
    return of_rank("Cropping{}", x)(1, **_of_format(site, x))(x)


@part(weight=2, ranks=(3, 4, 5), fits=lambda site, x: _is_last(site, x) and site.smallest(x) <= 12)
def upsampling(site, x):
    options = {**_of_format(site, x)}
    if len(x.shape) == 4:
        options["interpolation"] = site.choices.pick(["nearest", "bilinear"])
    return of_rank("UpSampling{}", x)(2, **options)(x)


@part(weight=3, ranks=(3, 4, 5), needs_known=True, fits=lambda site, x: math.prod(x.shape[1:]) <= 600)
def flatten(site, x):
    return layers.Flatten(data_format=site.data_format)(x)


@part(weight=2, needs_known=True, fits=lambda site, x: math.prod(x.shape[1:]) <= 4000)
def reshape(site, x):
    *sizes, channels = x.shape[1:]
    total = math.prod(sizes)
    targets = [(total, channels), (1, total, channels), (-1, channels), (channels, total)]
    target = site.choices.pick(targets)
    if site.choices.chance(0.3):
        return ops.reshape(x, (-1, *(total if length == -1 else length for length in target)))
    return layers.Reshape(target)(x)


@part(weight=2, ranks=(3, 4, 5))
def permute(site, x):
    places = list(range(1, len(x.shape)))
    order = places[1:] + places[:1] if site.choices.chance(0.5) else [places[1], places[0], *places[2:]]
    if x.shape[order[-1]] is None or x.shape[order[0]] is None:
        return layers.Permute(places)(x)
    if site.choices.chance(0.3):
        return ops.transpose(x, (0, *order))
    return layers.Permute(order)(x)


@part(weight=1, ranks=(2,))
def repeat_vector(site, x):
    return layers.RepeatVector(3)(x)


@part(weight=1, ranks=(2, 3, 4))
def expand_and_squeeze(site, x):
    y = ops.expand_dims(x, axis=1)
    return y if site.choices.chance(0.5) and len(x.shape) < 4 else ops.squeeze(y, axis=1)


@part(weight=3)
def channel_slice(site, x):
    channels, axis = site.channels(x), site.channel_axis(x)
    if channels < 3:
        return x[:, ...]
    start, step = site.choices.pick([(0, 1), (1, 1), (0, 2)])
    index = [slice(None)] * len(x.shape)
    index[axis] = slice(start, channels - 1 + start if step == 1 else None, step)
    return x[tuple(index)]


@part(weight=1, ranks=(3, 4, 5), smallest=4, fits=lambda site, x: is_known(x) and site.channel_axis(x) != 1)
def position_slice(site, x):
    return site.choices.pick([lambda: x[:, ::2], lambda: x[:, 1:-1], lambda: x[:, 0], lambda: ops.flip(x, axis=1)])()


@part(weight=2, fits=lambda site, x: site.channels(x) % 2 == 0)
def split(site, x):
    halves = ops.split(x, 2, axis=site.channel_axis(x))
    if site.choices.chance(0.5):
        halves[1] = layers.BatchNormalization(axis=site.channel_axis(x))(halves[1])
    return ops.concatenate(halves[::-1], axis=site.channel_axis(x)) if site.choices.chance(0.5) else halves


@part(weight=1, ranks=(2, 3), needs_known=True)
def stack(site, x):
    return ops.stack([x, layers.ReLU()(x)], axis=site.choices.pick([1, -1]))


@part(weight=1, ranks=(3, 4), needs_known=True)
def mean(site, x):
    axis = site.choices.pick([place for place in range(1, len(x.shape)) if place != site.channel_axis(x)])
    return site.choices.pick([ops.mean, ops.sum, ops.max])(x, axis=axis, keepdims=site.choices.chance(0.5))
