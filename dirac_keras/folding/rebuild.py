"""The folded model: the original's graph with other layers in it, built by `keras.models.clone_model`."""

import warnings

import keras
import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.folding.package_objects import without_package_objects
from dirac_keras.graph.functional import as_functional, has_graph, new_inputs


def rebuild(model, rules, dropped, casting, cuts):
    """A new model in which folded layers carry their new weights and the dropped ones are gone.

    Args:
        model: Functional or Sequential model. It is not changed.
        rules: dict, id(layer) -> `Rule` of the layers that become plain ones.
        dropped: set of id(layer).
        casting: set of id(layer), the dropped ones that change the precision: an identity does so in their place.
        cuts: dict, id(addition) -> places of the inputs that it keeps; with one of them left it is gone too.

    Returns: keras.Model, uncompiled, Sequential where the original is; and a list of `(layer, its copy)`.
    """
    builder = _Builder(rules, dropped, casting, cuts)
    with warnings.catch_warnings():  # on inputs' names: said when the original was made
        warnings.filterwarnings("ignore", message=".*keys in the dict must match.*")
        folded = builder.model(model, is_top=True)
    builder.copy_weights()
    return folded, builder.pairs


class _Builder:
    def __init__(self, rules, dropped, casting, cuts):
        self._rules = rules
        self._dropped = dropped | {key for key, places in cuts.items() if len(places) == 1}
        self._casting = casting
        self._cuts = cuts
        self._cut_copies = {}  # id(copy of an addition) -> places
        self._copies = {}
        self.pairs = []  # (original, copy), a model after its layers

    def model(self, model, is_top=False):
        copy = self._sequential(model) if isinstance(model, keras.Sequential) else self._functional(model, is_top)
        self.pairs.append((model, copy))
        return copy

    def _sequential(self, model):
        copies = [self.layer(layer) for layer in model.layers]
        kept = [copy for copy in copies if not isinstance(copy, _Dropped)]
        if any(isinstance(copy, _Dropped) and copy.casts for copy in copies):
            kept = [copy.identity if isinstance(copy, _Dropped) else copy for copy in copies]
        if not kept:
            kept = [copies[-1].identity]  # Keras takes no empty Sequential
        (inputs,) = keras.tree.flatten(new_inputs(as_functional(model)))
        return keras.Sequential([inputs, *kept], name=model.name)

    def _functional(self, model, is_top):
        functional = as_functional(model)
        inputs = new_inputs(functional)

        def call(layer, *args, **kwargs):
            if id(layer) in self._cut_copies:
                given = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
                left = [given[place] for place in self._cut_copies[id(layer)]]
                args, kwargs = (left[:1] if isinstance(layer, _Dropped) else [left]), {}
            if not isinstance(layer, _Dropped):
                return layer(*args, **kwargs)
            source = args[0] if args else kwargs["inputs"]
            # The outputs of the whole model are known by their layer's name, in losses and exports; and
            # Keras cannot trace a nested model that returns an input as it is.
            is_input = any(source is tensor for tensor in keras.tree.flatten(inputs))
            is_needed = layer.name in functional.output_names and (is_top or is_input)
            return layer.identity(source) if is_needed or layer.casts else source

        return keras.models.clone_model(functional, input_tensors=inputs, clone_function=self.layer, call_function=call)

    def layer(self, layer):
        """The copy of a layer, made once, so that shared layers stay shared."""
        if id(layer) in self._dropped:
            self._copies.setdefault(id(layer), _Dropped(layer, id(layer) in self._casting))
        if id(layer) not in self._copies:
            self._copies[id(layer)] = self._copy(layer)
        if id(layer) in self._cuts:
            self._cut_copies[id(self._copies[id(layer)])] = self._cuts[id(layer)]
        return self._copies[id(layer)]

    def _copy(self, layer):
        if has_graph(layer):
            return self.model(layer)
        rule = self._rules.get(id(layer))
        copy = rule.make_layer() if rule is not None else _clone(layer)
        self.pairs.append((layer, copy))
        return copy

    def copy_weights(self):
        for layer, copy in self.pairs:
            if isinstance(copy, keras.Model) and has_graph(copy):
                continue
            if id(layer) in self._rules:
                _assign(copy.weights, self._rules[id(layer)].weights(), layer)
            elif isinstance(layer, keras.layers.Layer):
                _copy_state(layer, copy)
        for layer, copy in reversed(self.pairs):  # a model sets the flag of its layers, so it comes first
            if isinstance(layer, keras.layers.Layer) and copy.trainable != layer.trainable:
                copy.trainable = layer.trainable


class _Dropped:
    """In place of the copy of a layer that goes, and what stays where something has to."""

    def __init__(self, layer, casts):
        self.name = layer.name
        self.casts = casts
        self.identity = keras.layers.Identity(name=layer.name, dtype=getattr(layer, "dtype_policy", None))


def _clone(layer):
    if type(layer) is keras.layers.Lambda:  # its function is at hand: no need to load code from a configuration
        config = {
            **layer.get_config(),
            "function": layer.function,
            "mask": layer.mask,
            "arguments": layer.arguments,
        }
        if isinstance(config.get("output_shape"), dict):  # a serialized function
            config["output_shape"] = layer.compute_output_shape
        return keras.layers.Lambda(**config)
    try:
        config = layer.get_config()
        if isinstance(layer, keras.layers.Layer):
            config = without_package_objects(config)
        return type(layer).from_config(config)
    except Exception as error:
        raise UserError(
            f"fold cannot copy layer '{layer.name}' ({type(layer).__name__}): its class must be rebuilt by "
            f"from_config(get_config()). It failed with {type(error).__name__}: {error}"
        ) from error


def _assign(variables, values, layer):
    shapes = [tuple(variable.shape) for variable in variables], [np.shape(value) for value in values]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"fold cannot copy the weights of layer '{layer.name}' ({type(layer).__name__}): the original "
            f"holds shapes {shapes[1]}, the layer made from its configuration {shapes[0]}."
        )
    for variable, value in zip(variables, values, strict=True):
        if not isinstance(value, np.ndarray):
            # A copy of the numbers: JAX deletes an array that a model donates to its compiled step, for all
            # who share it.
            value = np.array(keras.ops.convert_to_numpy(value))
        variable.assign(keras.ops.convert_to_tensor(value, dtype=variable.dtype))


def _copy_state(layer, copy):
    _assign(copy.variables, layer.variables, layer)  # with the state of random generators
    has_vocabulary = hasattr(layer, "get_vocabulary") and hasattr(layer, "set_vocabulary")
    if has_vocabulary and copy.get_vocabulary() != layer.get_vocabulary():
        copy.set_vocabulary(layer.get_vocabulary(include_special_tokens=False))
    if hasattr(copy, "finalize_state"):  # Normalization works from what it derives of its weights
        copy.finalize_state()
