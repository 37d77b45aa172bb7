"""The folded model: the original's graph with other layers in it, built by `keras.models.clone_model`."""

import warnings
from dataclasses import dataclass

import keras
import numpy as np

from dirac_keras.folding.copies import keras_own, make_again
from dirac_keras.folding.rules import inside
from dirac_keras.folding.sameness import difference
from dirac_keras.graph.functional import as_functional, has_graph, new_inputs
from dirac_keras.graph.layer_types import CONVOLUTIONS
from dirac_keras.graph.trace import trace
from dirac_keras.precision import dtype_policy


@dataclass(frozen=True)
class Changes:
    """What folding does to a graph.

    Args:
        rules: dict, id(layer) -> `Rule` of the layers that become other ones.
        made: dict, id(layer) -> layer that is ready to take its place.
        dropped: set of id(operation), those that go.
        cuts: dict, id(sum) -> `{place: factor}` of what it keeps in its flattened `(args, kwargs)`; with one of them
            left it is gone too.
        dtypes: dict, id(operation) -> dtypes of the input that is left and of the output, of those that go.
        read_integers: set of id(operation), those that integers may reach.
        closed: set of id(model), nested models that are copied as they are.
        origins: dict, id(model) -> the layer that it stands for, whose `trainable` counts.
    """

    rules: dict
    made: dict
    dropped: set
    cuts: dict
    dtypes: dict
    read_integers: set
    closed: set
    origins: dict


@dataclass(frozen=True)
class Uncopied:
    """Why a layer is no copy; `is_loadable`: whether its class can make it from its configuration."""

    reason: str
    is_loadable: bool = True


def rebuild(model, changes):
    """A new model in which folded layers carry their new weights and the dropped ones are gone.

    A layer that does not change is made again from its configuration. Where that does not give its equal
    (`difference`), the layer object itself stands in both models.

    Args:
        model: Functional or Sequential model. It is not changed.
        changes: `Changes`.

    Returns: keras.Model, uncompiled, Sequential where the original is; a list of `(layer, its copy)`; and the dict
        id(layer) -> `Uncopied`.
    """
    shared = {}
    while True:
        builder = _Builder(changes, shared)
        with warnings.catch_warnings():  # on inputs' names: said when the original was made
            warnings.filterwarnings("ignore", message=".*keys in the dict must match.*")
            folded = builder.of_own_class(model, is_top=True) or builder.model(model, is_top=True)
        builder.copy_weights()
        if builder.shared == shared:
            builder.set_trainable()
            return folded, builder.pairs, shared
        shared = builder.shared


class _Builder:
    def __init__(self, changes, shared):
        self._changes = changes
        self._dropped = changes.dropped | {key for key, places in changes.cuts.items() if [*places.values()] == [1.0]}
        self.shared = dict(shared)  # id(layer) -> `Uncopied`
        self._cut_copies = {}  # id(copy of an addition) -> places
        self._copies = {}
        self._casts = {}  # id(convolution) -> the layer that casts for it
        self._originals = {}  # id(copy) -> layer, of copies that may turn out to be none
        self.pairs = []  # (original, copy), a model after its layers

    def model(self, model, is_top=False):
        policy = self._changes.origins.get(id(model), model).dtype_policy
        with dtype_policy(policy):  # a model casts what it is given to its own
            copy = self._sequential(model) if isinstance(model, keras.Sequential) else self._functional(model, is_top)
        self.pairs.append((model, copy))
        return copy

    def _sequential(self, model):
        (inputs,) = keras.tree.flatten(new_inputs(as_functional(model)))
        copies = [self.layer(layer) for layer in model.layers]
        kept = [copy.stand_in if isinstance(copy, _Dropped) else copy for copy in copies if _stays(copy)]
        if not kept:
            kept = [copies[-1].stand_in]  # Keras takes no empty Sequential
        kept = [part for copy in kept for part in (self._casts.get(id(copy)), copy) if part is not None]
        x = inputs
        for place, copy in enumerate(kept):
            x, kept[place] = self._call(copy, x)
        return keras.Sequential([inputs, *kept], name=model.name)

    def _functional(self, model, is_top):
        functional = as_functional(model)
        inputs = new_inputs(functional)

        def call(layer, *args, **kwargs):
            leaves = keras.tree.flatten((args, kwargs))
            if id(layer) in self._cut_copies:
                places = self._cut_copies[id(layer)]
                leaves = [leaves[place] for place in places]
                if len(leaves) > 1:
                    leaves = [_times(leaf, factor) for leaf, factor in zip(leaves, places.values(), strict=True)]
                args, kwargs = [leaves if len(leaves) > 1 else leaves[0]], {}
            if id(layer) in self._casts:
                args, kwargs = keras.tree.map_structure(self._casts[id(layer)], (args, kwargs))
            if not isinstance(layer, _Dropped):
                return self._call(layer, *args, **kwargs)[0]
            source = next(leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor))
            # The outputs of the whole model are known by their layer's name, in losses and exports; and
            # Keras cannot trace a nested model that returns an input as it is.
            is_input = any(source is tensor for tensor in keras.tree.flatten(inputs))
            is_needed = layer.name in functional.output_names and (is_top or is_input)
            return layer.stand_in(source) if is_needed or layer.casts else source

        return keras.models.clone_model(functional, input_tensors=inputs, clone_function=self.layer, call_function=call)

    def _call(self, copy, *args, **kwargs):
        """The output of a copy and the copy, or of the layer itself if its copy does not run."""
        original = self._originals.get(id(copy))
        if original is None:
            return copy(*args, **kwargs), copy
        if id(original) not in self.shared:
            try:
                if not isinstance(copy, keras.layers.Layer):
                    return copy(*args, **kwargs), copy
                with dtype_policy(copy.dtype_policy):  # what it makes when it is built
                    return copy(*args, **kwargs), copy
            except Exception as error:  # of whatever kind: the layer's own code runs here
                self.shared[id(original)] = Uncopied(f"a copy of it does not run ({_said(error)})", is_loadable=False)
        return original(*args, **kwargs), original

    def layer(self, layer):
        """The copy of a layer, made once, so that shared layers stay shared."""
        if id(layer) not in self._copies:
            self._copies[id(layer)] = self._copy(layer)
        if id(layer) in self._changes.cuts:
            self._cut_copies[id(self._copies[id(layer)])] = self._changes.cuts[id(layer)]
        return self._copies[id(layer)]

    def _copy(self, layer):
        if id(layer) in self._dropped:
            return _Dropped(layer, *self._changes.dtypes[id(layer)])
        if id(layer) in self._changes.closed:
            # On its own: what is done to a layer that is also used elsewhere would be wrong in here.
            return _Builder(Changes({}, {}, set(), {}, {}, set(), set(), {}), self.shared).closed_model(layer, self)
        if has_graph(layer):
            return self.of_own_class(layer) or self.model(layer)
        if id(layer) in self._changes.made:
            copy = self._changes.made[id(layer)]
        elif id(layer) in self._changes.cuts:
            policy = getattr(layer, "dtype_policy", None) or self._changes.dtypes[id(layer)][1]
            copy = _sum_of(list(self._changes.cuts[id(layer)].values()), name=layer.name, dtype=policy)
        elif id(layer) in self._changes.rules:
            copy = self._changes.rules[id(layer)].make_layer()
            if id(layer) in self._changes.read_integers and isinstance(inside(copy), CONVOLUTIONS):
                # This package's convolutions take integers, those of Keras do not.
                name = f"{layer.name}_as_float"
                self._casts[id(copy)] = keras.layers.Rescaling(1.0, name=name, dtype=copy.compute_dtype)
        else:
            copy = keras_own(layer) or self._same(layer)
        self.pairs.append((layer, copy))
        return copy

    def closed_model(self, model, around):
        copy = self.model(model)
        self.copy_weights()
        around.pairs += self.pairs
        around.shared |= self.shared
        return copy

    def of_own_class(self, model, is_top=False):
        """A copy of a model that does not change and has a class of its own, made by that class; None otherwise."""
        is_own = type(model) is not keras.Sequential and type(model) is not type(as_functional(model))
        if not is_own or id(model) in self.shared or self._touches(model):
            return None
        copy = self._same(model)
        if copy is model or (is_top and copy.output_names != model.output_names):
            return None
        self.pairs.append((model, copy))
        return copy

    def _touches(self, model):
        changed = self._dropped | self._changes.rules.keys() | self._changes.made.keys() | self._changes.cuts.keys()
        graph = trace(model)
        return bool(graph.closed) or any(id(call.operation) in changed for call in graph.calls)

    def _same(self, layer):
        """A copy of a layer that does not change, or the layer itself."""
        if id(layer) in self.shared:
            return layer
        try:
            copy = make_again(layer)
        except Exception as error:  # of whatever kind: get_config and from_config are the layer's own code
            reason = f"from_config(get_config()) does not make it again ({_said(error)})"
            self.shared[id(layer)] = Uncopied(reason, is_loadable=False)
            return layer
        self._originals[id(copy)] = layer
        return copy

    def copy_weights(self):
        """Of layers that are ready; those whose copy is not their equal are noted as shared."""
        for layer, copy in self.pairs:
            if id(layer) in self._changes.rules:
                _assign(copy.weights, self._changes.rules[id(layer)].weights())
            elif id(copy) in self._originals and id(layer) not in self.shared and isinstance(layer, keras.layers.Layer):
                reason = _copy_state(layer, copy)
                if reason is not None:
                    self.shared[id(layer)] = Uncopied(reason)

    def set_trainable(self):
        for layer, copy in reversed(self.pairs):  # a model sets the flag of its layers, so it comes first
            origin = self._changes.origins.get(id(layer), layer)
            if isinstance(origin, keras.layers.Layer) and copy is not layer and copy.trainable != origin.trainable:
                copy.trainable = origin.trainable


class _Dropped:
    """In place of the copy of a layer that goes, and what stays where something has to."""

    def __init__(self, layer, before, after):
        """`before`, `after`: the dtypes of its input and of its output."""
        self.name = layer.name
        self.casts = before != after
        # Identity casts floats alone; Rescaling casts all, and multiplies by 1.
        is_plain = "float" in before or not self.casts
        kind = keras.layers.Identity if is_plain else lambda **arguments: keras.layers.Rescaling(1.0, **arguments)
        self.stand_in = kind(name=layer.name, dtype=after if "float" in after else None)


def _sum_of(factors, **arguments):
    """The layer that adds what it reads, factors put in before; of one tensor alone, the layer that multiplies it."""
    return keras.layers.Add(**arguments) if len(factors) > 1 else keras.layers.Rescaling(*factors, **arguments)


def _times(tensor, factor):
    return tensor if factor == 1.0 else tensor * factor


def _stays(copy):
    return not isinstance(copy, _Dropped) or copy.casts


def _said(error):
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        if not isinstance(value, np.ndarray):
            # A copy of the numbers: JAX deletes an array that a model donates to its compiled step, for all
            # who share it.
            value = np.array(keras.ops.convert_to_numpy(value))
        variable.assign(keras.ops.convert_to_tensor(value, dtype=variable.dtype))


def _copy_state(layer, copy):
    """Gives a copy the weights, with the state of random generators. Returns: why it is no equal, or None."""
    try:
        shapes = [[tuple(variable.shape) for variable in of.variables] for of in (layer, copy)]
        if shapes[0] != shapes[1]:
            return "the layer made from its configuration has other weights"
        _assign(copy.variables, layer.variables)
        if hasattr(copy, "finalize_state"):  # Normalization works from what it derives of its weights
            copy.finalize_state()
    except Exception as error:  # of whatever kind: some layers cannot say what they hold
        return f"its weights cannot be copied ({_said(error)})"
    place = difference(layer, copy)
    return None if place is None else f"a layer of the same configuration and weights has another '{place}'"
