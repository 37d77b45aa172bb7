"""The inputs of a model as a serving format names them."""

import re

import keras

from dirac_keras.errors import UserError


def input_specs(model):
    """`keras.InputSpec`s in the structure of the model's inputs, the batch open."""
    if getattr(model, "inputs", None):
        # Only a functional model has a structure of inputs, and `input`.
        structure = model.inputs if isinstance(model, keras.Sequential) else model.input
        if isinstance(structure, (list, tuple)) and len(structure) == 1:
            structure = structure[0]
        names = iter(_input_names(model.inputs))  # in the order of the flattened structure
        return keras.tree.map_structure(
            lambda x: keras.InputSpec(shape=(None, *x.shape[1:]), dtype=x.dtype, name=next(names)), structure
        )
    shape = (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, (tuple, list)) or not all(isinstance(side, (int, type(None))) for side in shape):
        raise UserError(
            "model is a subclass whose inputs are not known. Wrap it: keras.Model(inputs, model(inputs)) "
            f"with keras.Input tensors, and export that. Received model={model!r}."
        )
    return keras.InputSpec(shape=(None, *shape[1:]), dtype=model.input_dtype or "float32", name="inputs")


def _input_names(tensors):
    """What the signatures call the inputs: Keras' names, without characters that TensorFlow refuses."""
    names = []
    for index, tensor in enumerate(tensors):
        name = re.sub(r"\W", "_", tensor.name, flags=re.ASCII)
        if re.fullmatch(r"keras_tensor(_\d+)?", name):  # nobody named it, and the count differs every time
            name = "inputs" if len(tensors) == 1 else f"inputs_{index}"
        names.append(name)
    return names
