"""The folded model: the original's graph with other layers in it, built through `keras.models.clone_model`."""

import warnings

import keras
import numpy as np

from dirac_keras.folding.graph import as_functional, has_graph, new_inputs
from dirac_keras.folding.rules import without_package_objects


def rebuild(model, rules, dropped):
    """A new model in which folded layers carry their new weights and the dropped ones are gone.

    Args:
        model: Functional or Sequential model. It is not changed.
        rules: dict, id(layer) -> `Rule` of the layers that become plain ones.
        dropped: set of id(layer).

    Returns: keras.Model, uncompiled; Sequential where the original is.
    """
    builder = _Builder(rules, dropped)
    with warnings.catch_warnings():  # on inputs' names: said when the original was made
        warnings.filterwarnings("ignore", message=".*keys in the dict must match.*")
        folded = builder.model(model, is_top=True)
    builder.copy_weights()
    return folded


class _Builder:
    def __init__(self, rules, dropped):
        self._rules = rules
        self._dropped = dropped
        self._copies = {}
        self._pairs = []  # (original, copy), a model after its layers

    def model(self, model, is_top=False):
        build = self._sequential if isinstance(model, keras.Sequential) else self._functional
        copy = build(model, is_top)
        self._pairs.append((model, copy))
        return copy

    def _sequential(self, model, is_top):
        keep = [layer for layer in model.layers if id(layer) not in self._dropped]
        if not keep:
            keep = [_identity_for(model.layers[-1])]
            copies = keep
        else:
            copies = [self.layer(layer) for layer in keep]
        (tensor,) = model.inputs
        inputs = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name, sparse=tensor.sparse)
        return keras.Sequential([inputs, *copies], name=model.name)

    def _functional(self, model, is_top):
        functional = as_functional(model)
        ends = self._ends(functional, is_top)

        def call(layer, *args, **kwargs):
            if isinstance(layer, _Dropped) and layer.name not in ends:
                return args[0] if args else kwargs["inputs"]
            return (layer.identity if isinstance(layer, _Dropped) else layer)(*args, **kwargs)

        return keras.models.clone_model(
            functional, input_tensors=new_inputs(functional), clone_function=self.layer, call_function=call
        )

    def _ends(self, functional, is_top):
        """Names of dropped layers that leave an identity: outputs are known by their layer's name."""
        outputs = functional.output_names
        return {
            layer.name
            for layer in functional.layers
            if id(layer) in self._dropped and layer.name in outputs and (is_top or len(functional.layers) == 2)
        }

    def layer(self, layer):
        """The copy of a layer, made once, so that shared layers stay shared."""
        if id(layer) in self._dropped:
            return _Dropped(layer)
        if id(layer) not in self._copies:
            self._copies[id(layer)] = self._copy(layer)
        return self._copies[id(layer)]

    def _copy(self, layer):
        if has_graph(layer):
            return self.model(layer)
        rule = self._rules.get(id(layer))
        copy = rule.make_layer() if rule is not None else _clone(layer)
        self._pairs.append((layer, copy))
        return copy

    def copy_weights(self):
        for layer, copy in self._pairs:
            if isinstance(copy, keras.Model) and has_graph(copy):
                continue
            if id(layer) in self._rules:
                _assign(copy.weights, self._rules[id(layer)].weights(), layer)
            elif isinstance(layer, keras.layers.Layer):
                _copy_state(layer, copy)
        for layer, copy in reversed(self._pairs):  # a model sets the flag of its layers, so it comes first
            if isinstance(layer, keras.layers.Layer) and copy.trainable != layer.trainable:
                copy.trainable = layer.trainable


class _Dropped:
    """In place of the copy of a layer that goes."""

    def __init__(self, layer):
        self.name = layer.name
        self.identity = _identity_for(layer)


def _identity_for(layer):
    return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy)


def _clone(layer):
    try:
        config = layer.get_config()
        if isinstance(layer, keras.layers.Layer):
            config = without_package_objects(config)
        return type(layer).from_config(config)
    except Exception as error:
        raise ValueError(
            f"fold cannot copy layer '{layer.name}' ({type(layer).__name__}): its class must be rebuilt by "
            f"from_config(get_config()). It failed with {type(error).__name__}: {error}"
        ) from error


def _assign(variables, values, layer):
    shapes = [tuple(variable.shape) for variable in variables], [np.shape(value) for value in values]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"fold cannot copy the weights of layer '{layer.name}' ({type(layer).__name__}): the original holds "
            f"shapes {shapes[1]}, the layer made from its configuration {shapes[0]}."
        )
    for variable, value in zip(variables, values, strict=True):
        if isinstance(value, np.ndarray):
            value = keras.ops.cast(value.astype("float32"), variable.dtype)
        variable.assign(value)


def _copy_state(layer, copy):
    _assign(copy.variables, layer.variables, layer)  # with the state of random generators
    if hasattr(layer, "get_vocabulary") and hasattr(layer, "set_vocabulary"):
        if copy.get_vocabulary() != layer.get_vocabulary():
            copy.set_vocabulary(layer.get_vocabulary(include_special_tokens=False))
    if hasattr(copy, "finalize_state"):  # Normalization works from what it derives of its weights
        copy.finalize_state()
