"""The rules of preprocessing layers that scale and shift their input by fixed numbers."""

import keras
import numpy as np

from dirac_keras.folding.affine import Numbers
from dirac_keras.folding.refused import Refused
from dirac_keras.folding.rules.base import Rule, rule, to_float64


@rule(keras.layers.Rescaling)
class RescalingRule(Rule):
    """`scale * x + offset`, numbers or arrays that broadcast against x."""

    def read(self, layer):
        self.scale, self.offset = scale_and_offset(layer)

    def fit(self, affine, shape, side):
        if affine.differs_along([0]):
            raise Refused("would need other numbers for each sample")
        if _is_channels_first() and len(shape) < 4 and affine.differs_along(range(len(shape))):
            raise Refused("takes numbers per channel of images only where image_data_format is 'channels_first'")
        return Numbers(affine.scale, affine.shift)

    def absorb_output(self, scale, shift):
        self.scale, self.offset = scale * self.scale, scale * self.offset + shift
        self.has_new_kernel = True

    def absorb_input(self, scale, shift):
        self.scale, self.offset = scale * self.scale, self.scale * shift + self.offset
        self.has_new_kernel = True

    def config(self):
        kept = {key: value for key, value in self.layer.get_config().items() if key in ("name", "trainable", "dtype")}
        return {**kept, "scale": _plain(self.scale), "offset": _plain(self.offset)}

    def make_layer(self):
        return keras.layers.Rescaling.from_config(self.config())

    def weights(self):
        return []


@rule(keras.layers.Normalization)
class NormalizationRule(RescalingRule):
    """`(x - mean) / deviation`; with other numbers it is a `Rescaling`, since a deviation has no sign."""


def scale_and_offset(layer):
    """The numbers of a `Rescaling` or `Normalization`, float64 arrays that broadcast against its input."""
    if isinstance(layer, keras.layers.Normalization):
        mean = to_float64(layer.mean)
        deviation = np.maximum(np.sqrt(to_float64(layer.variance)), keras.config.epsilon())
        return (deviation, mean) if layer.invert else (1.0 / deviation, -mean / deviation)
    scale, offset = (to_float64(keras.ops.convert_to_tensor(x, "float32")) if keras.ops.is_tensor(x) else
                     np.asarray(x, "float64") for x in (layer.scale, layer.offset))  # fmt: skip
    if _is_channels_first() and scale.ndim > 0:  # as the layer itself does
        scale = scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
    return scale, offset


def _is_channels_first():
    return keras.config.image_data_format() == "channels_first"


def _plain(array):
    """A number or nested lists, without the axis of the batch."""
    if array.size == 1:
        return float(array.reshape(()))
    array = array[0]
    while array.shape[0] == 1 and array.ndim > 1 and not _is_channels_first():
        array = array[0]
    return array.tolist()
