"""What a model costs and sees: multiply-accumulates and receptive fields, per layer."""

from dirac_keras.folding.graph import has_graph, trace

def count_macs(model, input_shapes=None):
    return {}
