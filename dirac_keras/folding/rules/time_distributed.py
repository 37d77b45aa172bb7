"""The rule of `TimeDistributed`, which is that of the layer inside."""

import keras

from dirac_keras.folding.rules.base import RULES, rule


@rule(keras.layers.TimeDistributed)
class TimeDistributedRule:
    """The rule of the layer inside, one axis further on."""

    def __init__(self, layer):
        self.layer = layer
        self._inner = RULES[type(layer.layer)](layer.layer)

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def channel_axis(self, rank):
        return self._inner.channel_axis(rank - 1) + 1

    def make_layer(self):
        config = self.layer.get_config()
        del config["layer"]
        return keras.layers.TimeDistributed(self._inner.make_layer(), **config)


def inside(operation):
    """The layer in a `TimeDistributed`; any other operation is itself."""
    return operation.layer if type(operation) is keras.layers.TimeDistributed else operation
