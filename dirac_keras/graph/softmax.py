"""Whether a classifier gives probabilities or logits."""

import contextlib

import keras


def ends_in_softmax(model):
    layer = model.layers[-1]
    if getattr(model, "output_names", None):
        with contextlib.suppress(ValueError):  # an output that is no layer's, as of a plain op
            layer = model.get_layer(model.output_names[0])
    if isinstance(layer, keras.Model):
        return ends_in_softmax(layer)
    return isinstance(layer, keras.layers.Softmax) or getattr(layer, "activation", None) is keras.activations.softmax
