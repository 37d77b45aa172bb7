"""An operation that a converter does not know, by the layer that has it."""

import re

import keras

from dirac_keras.errors import UserError
from dirac_keras.graph.nested import all_layers
from dirac_keras.listing import listed


def refuse_unknown(model, operations, nodes, what):
    """Raise ValueError that names operations and their layers.

    Args:
        model: `keras.Model` that was converted.
        operations: list of str, types of operations.
        nodes: list of str, names of the nodes of a TensorFlow graph, which hold the layers' names.
        what: text, who does not know them.
    """
    layers = list(dict.fromkeys(filter(None, (find_layer(model, node) for node in nodes))))
    where = f", of the layer{'s' if len(layers) > 1 else ''} {listed(layers, 5)}" if layers else ""
    where = where or (f", at {nodes[0]}" if nodes else "")
    raise UserError(
        f"model: {what} does not know the operation{'s' if len(operations) > 1 else ''} {', '.join(operations)}{where}"
        f". Write that layer in other operations, or give another `format`."
    )


def find_layer(model, node):
    """The name of the innermost layer whose scope a node's name has, with its type; or None."""
    types = {layer.name: type(layer).__name__ for layer in all_layers(model) if not isinstance(layer, keras.Model)}
    for scope in reversed(re.split(r"[/;]", node)):
        for name in (scope, re.sub(r"_\d+$", "", scope)):  # a layer's second call counts up
            if name in types:
                return f"{name} ({types[name]})"
    return None
