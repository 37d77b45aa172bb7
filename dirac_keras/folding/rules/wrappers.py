"""The rules of layers that wrap another one: that of the layer inside."""

import keras
import numpy as np

from dirac_keras.folding.refused import Refused
from dirac_keras.folding.rules.base import RULES, known_class, rule


class WrapperRule:
    """Asks the rule of the layer inside."""

    def __init__(self, layer):
        self.layer = layer
        self._inner = RULES[known_class(type(layer.layer))](layer.layer)

    def __getattr__(self, name):
        return getattr(self._inner, name)


@rule(keras.layers.TimeDistributed)
class TimeDistributedRule(WrapperRule):
    """The layer inside sees one axis less, that of the steps."""

    def channel_axis(self, rank):
        return self._inner.channel_axis(rank - 1) + 1

    def fit(self, affine, shape, side):
        if affine.differs_along([1]):
            raise Refused("applies one layer to every step, along which the scale or the shift differs")
        return self._inner.fit(affine.map(lambda array: np.squeeze(array, 1)), _of_step(shape), side)

    def why_not_plain(self, shape):
        return self._inner.why_not_plain(_of_step(shape))

    def make_layer(self):
        return keras.layers.TimeDistributed(
            self._inner.make_layer(), name=self.layer.name, dtype=self.layer.dtype_policy
        )


@rule(keras.layers.SpectralNormalization)
class SpectralNormalizationRule(WrapperRule):
    """At inference it is the layer inside, whose kernel training has divided by its spectral norm.

    With other weights it becomes that layer: the wrapper would divide them again.
    """

    differs_in_training = True

    def refuses_output(self, shift):
        return self._casts() or self._inner.refuses_output(shift)

    def refuses_input(self, shift):
        return self._casts() or self._inner.refuses_input(shift)

    def make_layer(self):
        kind = self._inner.plain_class or known_class(type(self._inner.layer))
        return kind.from_config({**self._inner.config(), "name": self.layer.name})

    def _casts(self):
        is_same = self.layer.compute_dtype == self.layer.layer.compute_dtype
        return None if is_same else "computes in another precision than the layer inside"


def _of_step(shape):
    return (shape[0], *shape[2:])


WRAPPERS = (keras.layers.TimeDistributed, keras.layers.SpectralNormalization)


def inside(operation):
    """The layer in such wrappers; any other operation is itself."""
    while type(operation) in WRAPPERS:
        operation = operation.layer
    return operation
