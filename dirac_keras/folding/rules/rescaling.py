"""The rules of preprocessing layers that scale and shift their input by fixed numbers."""

import keras
import numpy as np

from dirac_keras.folding.affine import Affine, Numbers
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

    def own(self, rank):
        """The `Affine` of a tensor of that rank that the layer is, with what it has absorbed."""
        numbers = (array.reshape((1,) * (rank - array.ndim) + array.shape) for array in (self.scale, self.offset))
        return Affine(*numbers)

    def refuses_output(self, shift):
        # Folding itself puts one in where integers become floats; a second fold must find nothing.
        only_casts = np.all(self.scale == 1.0) and np.all(self.offset == 0.0)
        return "only converts what it reads" if only_casts else super().refuses_output(shift)

    def refuses_input(self, shift):
        return self.refuses_output(shift)

    def absorb_output(self, scale, shift):
        self.scale, self.offset = scale * self.scale, scale * self.offset + shift
        self.has_new_kernel = True

    def absorb_input(self, scale, shift):
        self.scale, self.offset = scale * self.scale, self.scale * shift + self.offset
        self.has_new_kernel = True

    def make_layer(self):
        numbers = {"scale": _without_batch(self.scale), "offset": _without_batch(self.offset)}
        if self.layer.compute_dtype != "float64":  # there the layer would take plain numbers to float32 first
            numbers = {name: array.tolist() for name, array in numbers.items()}
        return keras.layers.Rescaling(name=self.layer.name, dtype=self.layer.dtype_policy, **numbers)

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
    # As the layer casts them: TensorFlow takes Python's numbers to float32 on the way.
    scale, offset = (to_float64(keras.ops.cast(number, layer.compute_dtype)) for number in (layer.scale, layer.offset))
    if _is_channels_first() and scale.ndim > 0:  # as the layer itself does
        scale = scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
    return scale, offset


def _is_channels_first():
    return keras.config.image_data_format() == "channels_first"


def _without_batch(array):
    """The array without the axis of the batch, and with no axis where one number is all."""
    if array.size == 1:
        return array.reshape(())
    array = array[0]
    while array.shape[0] == 1 and array.ndim > 1 and not _is_channels_first():
        array = array[0]
    return array
