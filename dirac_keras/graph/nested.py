"""Models in models."""

import keras


def all_layers(model):
    """Every layer of a model and of the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield layer
