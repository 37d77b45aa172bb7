"""What each layer gives in the graph of one model."""

import keras

from dirac_keras.graph.functional import as_functional, check_has_graph


def layer_outputs(model):
    """The tensors that a model's layers and operations give in its own graph.

    `layer.output` is what a layer gave when it was first called, which may have been in another model.

    Args:
        model: Functional or built Sequential `keras.Model`.

    Returns: dict, name -> list of its calls in this model, each a list of `keras.KerasTensor`. Layers inside nested
        models are not among them.
    Raises: ValueError: if the model has no graph of layers.
    """
    check_has_graph(model)
    functional = as_functional(model)
    ends = {id(tensor) for tensor in keras.tree.flatten(functional.input)}
    found, seen, waiting = {}, set(), keras.tree.flatten(functional.output)
    while waiting:
        tensor = waiting.pop()
        # Keras has no public way from a tensor to the call that made it.
        operation, place, _ = tensor._keras_history
        if (id(operation), place) in seen:
            continue
        seen.add((id(operation), place))
        node = operation._inbound_nodes[place]
        found.setdefault(operation.name, []).append(list(node.output_tensors))
        if id(tensor) not in ends:
            waiting += node.input_tensors
    return found


def one_output(model, name):
    """The tensor of a layer that is called once, and gives one. Returns: it, or a str that says why there is none."""
    calls = layer_outputs(model).get(name, [])
    if len(calls) != 1:
        return f"is called {len(calls)} times" if calls else "gives nothing that the outputs depend on"
    return calls[0][0] if len(calls[0]) == 1 else f"gives {len(calls[0])} tensors"
