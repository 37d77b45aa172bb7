"""The inputs of a model as a serving format names them."""

import re

import keras

from dirac_keras.errors import UserError
from dirac_keras.graph.functional import has_graph, input_structure
from dirac_keras.graph.trace import trace


def input_specs(model):
    """`keras.InputSpec`s in the structure of the model's inputs; the batch is open unless it cannot be."""
    if getattr(model, "inputs", None):
        structure = input_structure(model)
        if isinstance(structure, (list, tuple)) and len(structure) == 1:
            structure = structure[0]
        batch = fixed_batch(model)
        names = iter(_input_names(model.inputs))  # in the order of the flattened structure
        return keras.tree.map_structure(
            lambda x: keras.InputSpec(shape=(batch, *x.shape[1:]), dtype=x.dtype, name=next(names)), structure
        )
    shape = (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, (tuple, list)) or not all(isinstance(side, (int, type(None))) for side in shape):
        raise UserError(
            "model is a subclass whose inputs are not known. Wrap it: keras.Model(inputs, model(inputs)) "
            f"with keras.Input tensors, and export that. Received model={model!r}."
        )
    return keras.InputSpec(shape=(None, *shape[1:]), dtype=model.input_dtype or "float32", name="inputs")


def fixed_batch(model):
    """The number of samples that a model takes at once, if it can take no other; else None.

    An input with a batch size is not yet a reason: Keras takes other batches too. A state that is kept for each sample,
    or a shape with the batch written into it, is one.

    Args:
        model: `keras.Model`.
    """
    batches = {tensor.shape[0] for tensor in getattr(model, "inputs", None) or () if len(tensor.shape)}
    batch = next(iter(batches - {None}), None)
    if batch is None or not has_graph(model):
        return batch
    try:
        graph = trace(model, [(None, *tensor.shape[1:]) for tensor in model.inputs])
    except Exception:  # of whatever kind: the layers' own code refuses an open batch
        return batch
    is_stateful = any(getattr(call.operation, "stateful", False) for call in graph.calls)
    shapes = [shape for call in graph.calls if call.outputs for shape in call.output_shapes]
    return batch if is_stateful or any(shape and shape[0] == batch for shape in shapes) else None


def _input_names(tensors):
    """What the signatures call the inputs: Keras' names, without characters that TensorFlow refuses."""
    names = []
    for index, tensor in enumerate(tensors):
        name = re.sub(r"\W", "_", tensor.name, flags=re.ASCII)
        if re.fullmatch(r"keras_tensor(_\d+)?", name):  # nobody named it, and the count differs every time
            name = "inputs" if len(tensors) == 1 else f"inputs_{index}"
        names.append(name)
    return names
