"""Parts that work along time: recurrent layers and attention."""

from keras import layers

from tests.folding.graphs.catalogue import part
from tests.folding.graphs.site import is_known


def _is_sequence(site, x):
    return site.data_format == "channels_last" and (x.shape[1] is None or x.shape[1] <= 24)


@part(weight=2, ranks=(3,), fits=_is_sequence)
def recurrent(site, x):
    kind = site.choices.pick([layers.LSTM, layers.GRU, layers.SimpleRNN])
    # Not orthogonal: there is no such start in bfloat16.
    layer = kind(3, return_sequences=site.choices.chance(0.6), recurrent_initializer="glorot_uniform")
    return layers.Bidirectional(layer)(x) if site.choices.chance(0.4) else layer(x)


@part(weight=2, ranks=(3,), fits=_is_sequence)
def attention(site, x):
    return layers.MultiHeadAttention(2, 3)(x, x)


@part(weight=1, ranks=(3,), fits=lambda site, x: _is_sequence(site, x) and is_known(x))
def dot_attention(site, x):
    return layers.Attention()([x, x])
