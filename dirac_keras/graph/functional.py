"""Models whose graph of layers is known: what they are, checked, copied as Functional models with other inputs."""

import functools
import warnings

import keras

from dirac_keras.errors import UserError
from dirac_keras.precision import dtype_policy


def has_graph(model):
    """Whether the layers of `model` and their order are known: Sequential and built, or Functional."""
    if isinstance(model, keras.Sequential):
        return type(model).call is keras.Sequential.call and _sequential_tensors(model) is not None
    return is_functional(model) and type(model).call is _functional_class().call


def check_has_graph(model):
    """Raise ValueError, with the way out, unless the graph of `model` is known (`has_graph`)."""
    if not isinstance(model, keras.Model):
        raise UserError(
            f"model must be a keras.Model. Received model={model!r} of type {type(model)}; pass a Functional or "
            "Sequential Keras model that has been built."
        )
    if has_graph(model):
        return
    if type(model).call is keras.Sequential.call:
        raise UserError(
            f"model must be built: its shapes are unknown. Received Sequential model '{model.name}' without "
            "an input shape; add keras.Input(shape) as its first layer, or call model.build(input_shape)."
        )
    if is_functional(model) or isinstance(model, keras.Sequential):
        raise UserError(
            f"model must compute its graph of layers. Received model '{model.name}', whose class "
            f"{type(model).__name__} overrides call(); pass keras.Model(model.inputs, model.outputs) if the "
            "graph is what you mean."
        )
    raise UserError(
        f"model must have a graph of layers. Received the subclassed model '{model.name}' "
        f"({type(model).__name__}), whose call() is plain code; rebuild it with the Functional API, "
        "keras.Model(inputs, outputs)."
    )


def is_functional(model):
    # The class behind `keras.Model(inputs, outputs)` has no public name, but these two bases.
    return isinstance(model, keras.Model) and isinstance(model, keras.Function)


def input_structure(model):
    """A model's inputs, nested as it takes them.

    A Functional model alone has `input`: a Sequential that was loaded, or cloned, has it only once it was called.
    """
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def as_functional(model):
    """`model` as a plain, uncompiled Functional model over the same layers."""
    if isinstance(model, keras.Sequential):
        return keras.Model(*_sequential_tensors(model), name=model.name)
    with warnings.catch_warnings():  # what Keras has to say of the inputs' names it said of the model before
        warnings.simplefilter("ignore")
        return keras.Model(model.input, model.output, name=model.name)


def new_inputs(model, shapes=None, precision=None):
    """Fresh `keras.Input` tensors in the structure of `model.input`, with other shapes or another precision if given.

    Args:
        model: Functional model.
        shapes: None, or list of shapes with the batch axis, in the order of `model.inputs`.
        precision: None, or the dtype of those that are floats.
    """
    input_layers = {id(layer.output): layer for layer in model.layers if isinstance(layer, keras.layers.InputLayer)}
    tensors = []
    for index, tensor in enumerate(model.inputs):
        layer = input_layers.get(id(tensor))  # the tensor of an unnamed Input has another name than its layer
        tensors.append(
            keras.Input(
                batch_shape=tensor.shape if shapes is None else shapes[index],
                dtype=precision if precision and "float" in tensor.dtype else tensor.dtype,
                name=tensor.name if layer is None else layer.name,
                sparse=tensor.sparse,
                optional=bool(getattr(layer, "optional", False)),
            )
        )
    return keras.tree.pack_sequence_as(model.input, tensors)


def with_open_sides(shape):
    """The shape of a tensor of images of any size, where this one is of images."""
    return (*shape[:1], *[None] * (len(shape) - 2), *shape[-1:]) if len(shape) > 2 else shape


def with_open_inputs(layer):
    """A model over the same layers that takes images of any size; another layer as it is."""
    if not has_graph(layer):
        return layer
    functional = as_functional(layer)
    return _over_the_same_layers(
        functional, new_inputs(functional, [with_open_sides(tensor.shape) for tensor in functional.inputs]), layer
    )


def with_inputs_of(model, shapes):
    """A model over the same layers on new inputs; models in it take images of any size.

    Args:
        model: Functional or built Sequential model.
        shapes: list of shapes with the batch axis, one per `model.inputs`.

    Raises: whatever a layer raises that does not take them.
    """
    functional = as_functional(model)
    return _over_the_same_layers(functional, new_inputs(functional, shapes), model)


def with_open_models(model):
    """A model over the same layers, in which models take images of any size. It has its own inputs."""
    functional = as_functional(model)
    return _over_the_same_layers(functional, new_inputs(functional), model)


def _over_the_same_layers(functional, inputs, model):
    with dtype_policy(model.dtype_policy):
        return keras.models.clone_model(
            functional,
            input_tensors=inputs,
            clone_function=with_open_inputs,
            call_function=lambda inner, *args, **kwargs: inner(*args, **kwargs),
        )


def _sequential_tensors(model):
    try:
        return model.inputs, model.outputs
    except AttributeError:  # not built, or built on inputs that make no graph
        return None


@functools.cache
def _functional_class():
    tensor = keras.Input((1,))
    return type(keras.Model(tensor, keras.layers.Identity()(tensor)))  # Keras 3.12 refuses one without a layer
