"""Operations that return their input at inference."""

import keras

from dirac_keras.folding.passages.registry import OneToOne, passes, why_no_passage
from dirac_keras.folding.refused import Refused


class Unchanged(OneToOne):
    def check(self, call):
        super().check(call)
        if call.training:
            raise Refused("is called with training=True")

    def before(self, call, affine):
        return affine

    behind = before


class LinearActivation(Unchanged):
    def check(self, call):
        super().check(call)
        if call.operation.activation is not keras.activations.linear:
            raise Refused(why_no_passage(call.operation))


class Cast(Unchanged):
    """Between precisions; an integer has no place for a scale."""

    def check(self, call):
        super().check(call)
        for dtype in (*call.input_dtypes, *call.output_dtypes):
            if not keras.backend.is_float_dtype(dtype):
                raise Refused(f"converts {call.input_dtypes[0]} to {call.output_dtypes[0]}")


passes(
    Unchanged(),
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
    "Copy",
    "StopGradient",
)
passes(LinearActivation(), keras.layers.Activation)
passes(Cast(), "Cast")
