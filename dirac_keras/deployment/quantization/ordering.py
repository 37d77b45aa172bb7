"""Max pooling and ReLU in the order that costs an integer network least."""

import keras

from dirac_keras.deployment.quantization.network import copy_of
from dirac_keras.folding.copies import make_again
from dirac_keras.graph.functional import as_functional, has_graph
from dirac_keras.graph.layer_types import is_keras_op
from dirac_keras.graph.trace import trace

_MAX_POOLS = tuple(f"{scope}MaxPooling{axes}D" for scope in ("", "Global") for axes in (1, 2, 3))


def relu_before_pool(model):
    """The same function, with each ReLU that follows a max pooling put before it.

    Both orders give the same numbers, bit by bit. But a convolution takes a ReLU that follows it along, and pooling
    integers rounds nothing: of `conv -> pool -> relu` the convolution's output, with its negative half, has to be put
    on a grid, and the ReLU's once more; of `conv -> relu -> pool` the ReLU's alone.

    Args:
        model: folded Functional or Sequential `keras.Model`.

    Returns: `(model, tuple of paths)`: a copy in float32 with layers of the same names, and the poolings that were
        moved. Without any, `quantization.network.copy_of` of the model.
    """
    moved = _movable(model)
    copy = copy_of(model)
    return (_swapped(copy, moved) if moved else copy), tuple(moved)


def _movable(model):
    """dict, path of a pooling -> path of the ReLU after it."""
    graph = trace(model)
    called = {}
    for call in graph.calls:
        called[call.path] = called.get(call.path, 0) + 1
    moved = {}
    for call in graph.calls:
        if not any(is_keras_op(call.operation, name) for name in _MAX_POOLS):
            continue
        (tensor,) = call.outputs
        readers = graph.consumers.get(tensor, [])
        if len(readers) != 1 or tensor in graph.outputs or not _is_relu(readers[0].operation):
            continue
        relu = readers[0]
        together = call.path.rpartition("/")[0] == relu.path.rpartition("/")[0]
        if together and called[call.path] == called[relu.path] == 1:
            moved[call.path] = relu.path
    return moved


def _swapped(model, moved, scope=""):
    pools, made = {}, []

    def again(layer):
        if has_graph(layer):
            return _swapped(layer, moved, f"{scope}{layer.name}/")
        made.append((layer, make_again(layer)))
        return made[-1][1]

    def call(layer, *args, **kwargs):
        path = f"{scope}{layer.name}"
        if path in moved:  # waits for its ReLU
            pools[moved[path]] = layer
            return args[0]
        outputs = layer(*args, **kwargs)
        return pools[path](outputs) if path in pools else outputs

    swapped = keras.models.clone_model(as_functional(model), clone_function=again, call_function=call)
    for layer, new in made:
        new.set_weights(layer.get_weights())
        if isinstance(new, keras.layers.Normalization):  # which works from what it derives of its weights
            new.finalize_state()
    return swapped


def _is_relu(operation):
    """Whether an operation is monotonous and acts on each number alone: then it commutes with the maximum."""
    if is_keras_op(operation, "Activation"):
        return operation.activation in (keras.activations.relu, keras.activations.relu6)
    return is_keras_op(operation, "ReLU")
