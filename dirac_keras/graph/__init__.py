"""Reading any Keras model: its calls, costs, receptive fields, inputs, precision."""
