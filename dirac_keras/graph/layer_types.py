"""Layer types by what they compute, for costs and receptive fields."""

import keras

from dirac_keras.layers import DiracConv1D, DiracConv2D, DiracConv3D, DiracDense


def is_from_keras(operation):
    """Whether it is Keras' own layer or raw operation, not a subclass from elsewhere."""
    return type(operation).__module__.split(".")[0] == "keras"


def is_keras_op(operation, name):
    """Whether it is Keras' layer or raw operation of this name: "Add" is `keras.layers.Add` and `keras.ops.add`."""
    return type(operation).__name__ == name and is_from_keras(operation)


def raw_operation_name(operation):
    """The class name of a raw operation of Keras, which has no public class to look up; None for anything else."""
    is_raw = not isinstance(operation, keras.layers.Layer)
    return type(operation).__name__ if is_raw and is_from_keras(operation) else None


CONVOLUTIONS = (
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
    *(DiracConv1D, DiracConv2D, DiracConv3D),
)


SEPARABLE_CONVOLUTIONS = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)


TRANSPOSED_CONVOLUTIONS = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)


RECURRENT = (keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)


DENSE = (keras.layers.Dense, DiracDense)
