"""Layer types by what they compute, for costs and receptive fields."""

import keras

from dirac_keras.errors import UserError
from dirac_keras.graph.trace import has_graph, trace
from dirac_keras.layers import DiracConv1D, DiracConv2D, DiracConv3D, DiracDense


def graph_of(model, input_shapes):
    if not isinstance(model, keras.Model) or not has_graph(model):
        raise UserError(
            f"model must be a Functional or built Sequential Keras model. Received {model!r}; build it with "
            "keras.Model(inputs, outputs), or give the Sequential model a keras.Input."
        )
    return trace(model, input_shapes)


def raw_operation_name(operation):
    """Raw operations of Keras have no public class to look up."""
    is_raw = not isinstance(operation, keras.layers.Layer)
    return type(operation).__name__ if is_raw and type(operation).__module__.split(".")[0] == "keras" else None


CONVOLUTIONS = (
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
    *(DiracConv1D, DiracConv2D, DiracConv3D),
)


SEPARABLE_CONVOLUTIONS = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)


TRANSPOSED_CONVOLUTIONS = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)


RECURRENT = (keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)


DENSE = (keras.layers.Dense, DiracDense)
