"""Layers and models whose `call` is plain code, opened: the same inner layers as a nested Functional model.

`call` is run once on symbolic tensors. Where that shows all that it does, the graph that it draws takes its place, and
folding goes on inside.
"""

import contextlib
import dataclasses
import inspect

import keras

from dirac_keras.folding.inventory import layers_inside
from dirac_keras.folding.package_objects import is_from_package
from dirac_keras.folding.rules import has_rule, is_batch_normalization
from dirac_keras.folding.sameness import difference
from dirac_keras.folding.stacks import SumsOfStacks, has_sum_of_stack
from dirac_keras.graph.functional import as_functional, has_graph, new_inputs, with_open_inputs, with_open_sides
from dirac_keras.graph.live_configs import is_lost
from dirac_keras.graph.trace import trace
from dirac_keras.precision import dtype_policy


class _Closed(Exception):
    """Why a layer cannot be opened, as a sentence without its subject."""


def open_layers(model, also=()):
    """Opens what holds layers that folding is about and shows its graph when it is called.

    Args:
        model: model with a graph. It is not changed.
        also: ids of other layers to open.

    Returns: `Opened`.
    """
    opener = _Opener(also)
    opened = opener.with_sums(opener.open(model))
    return Opened(opened, opener.closed, opener.origins, opener.sums)


@dataclasses.dataclass(frozen=True)
class Opened:
    """A model in which layers were opened.

    Args:
        model: the model itself, or one over the same inner layers that has a nested Functional model for each layer
            that was opened.
        closed: dict, id(layer) -> why it stays closed.
        origins: dict, id(model in it) -> the layer or model in the original whose place it takes.
        sums: dict, id(layer in it) -> what it was in the original, in words: a sum of stacked tensors.
    """

    model: keras.Model
    closed: dict
    origins: dict
    sums: dict


class _Opener:
    def __init__(self, also):
        self._also = also
        self.closed, self.origins, self.sums = {}, {}, {}
        self._made = {}  # id(model) -> the one in its place, with sums
        self._alive = []  # objects are told apart by id, so none may be collected meanwhile

    def open(self, model, graph=None):
        candidates = {}
        for call in (graph or trace(model)).calls:
            if id(call.operation) in self._also or _is_worth_opening(call.operation):
                candidates.setdefault(id(call.operation), []).append(call)
        opened = {}
        for key, calls in candidates.items():
            layer = calls[0].operation
            self._alive.append(layer)
            try:
                opened[key] = self._replaced(self.open(*_graph_of(layer, calls)), layer)
            except _Closed as closed:
                self.closed[key] = str(closed)
        return self._with(model, opened) if opened else model

    def with_sums(self, model):
        """The model with sums and means of stacked tensors written as additions, also in the models in it."""
        if id(model) not in self._made:
            self._alive.append(model)
            self._made[id(model)] = self._summed(model) if has_sum_of_stack(trace(model)) else model
        return self._made[id(model)]

    def _summed(self, model):
        def replace(layer):
            return self.with_sums(layer) if has_graph(layer) else layer

        with dtype_policy(model.dtype_policy):
            return self._replaced(self._rewritten(model, replace, {}), model)

    def _with(self, model, opened):
        """The model with other layers in the places of some, also in the models in it."""
        if not any(id(inner) in opened for _, inner in layers_inside(model)):
            return model
        made = dict(opened)

        def replace(layer):
            if id(layer) not in made:
                made[id(layer)] = self._with(layer, opened) if has_graph(layer) else layer
            return made[id(layer)]

        with dtype_policy(model.dtype_policy):
            return self._replaced(self._rewritten(model, replace, opened), model)

    def _rewritten(self, model, replace, opened):
        if isinstance(model, keras.Sequential):
            (inputs,) = keras.tree.flatten(new_inputs(as_functional(model)))
            return keras.Sequential([inputs, *map(replace, model.layers)], name=model.name)
        new = {id(graph) for graph in opened.values()}

        sums = SumsOfStacks()

        def call(layer, *args, **kwargs):
            if id(layer) not in new:
                return sums.call(layer, *args, **kwargs)
            tensors = [leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, keras.KerasTensor)]
            return layer(tensors if len(tensors) > 1 else tensors[0])

        functional = as_functional(model)
        result = keras.models.clone_model(
            functional,
            input_tensors=new_inputs(functional),
            clone_function=replace,
            call_function=call,
        )
        self.sums |= sums.made
        return result

    def _replaced(self, new, old):
        self.origins[id(new)] = self.origins.get(id(old), old)
        self._alive.append(new)
        return new


def _is_worth_opening(layer):
    if not isinstance(layer, keras.layers.Layer) or has_graph(layer) or has_rule(layer):
        return False
    if type(layer) is keras.layers.TimeDistributed:  # folded by itself, once for all steps
        return False
    return _is_nameless(layer) or holds_work(layer)


def _is_nameless(layer):
    """Whether it is an activation that no file can hold, a lambda for one. The operations in it can be saved."""
    if type(layer) is not keras.layers.Activation or not is_lost(layer.activation):
        return False
    return getattr(layer.activation, "__name__", "<lambda>") == "<lambda>"


def holds_work(layer):
    """Whether layers that folding is about lie in a layer."""
    return any(is_batch_normalization(inner) or is_from_package(inner) for _, inner in layers_inside(layer))


def _graph_of(layer, calls):
    """What `layer.call` does, as a Functional model of the flat list of its input tensors, and that model's `Graph`.

    Raises: _Closed: unless that is all that the layer does, in all its calls, in training as at inference.
    """
    if type(layer).__call__ is not keras.layers.Layer.__call__ or layer.activity_regularizer is not None:
        raise _Closed("does more than its call()")
    if any(call.training for call in calls):
        raise _Closed("is called with training=True")
    if "mask" in inspect.signature(layer.call).parameters:
        raise _Closed("takes masks")
    if any(difference(_given(calls[0]), _given(call)) for call in calls[1:]):
        raise _Closed("is called in more than one way")
    model, in_training = _drawn(layer, calls[0], None), _drawn(layer, calls[0], True)
    graph = trace(model)
    if difference(_steps(graph), _steps(trace(in_training))):
        raise _Closed("does something else in training")
    arguments = keras.tree.flatten([(call.args, call.kwargs) for call in graph.calls])
    if any(isinstance(value, keras.Variable) for value in arguments):
        raise _Closed("computes with weights of its own")
    return model, graph


class _ReadingScope(keras.StatelessScope):
    """Keeps variables as they are and notes whether one is read."""

    has_read = False

    def get_current_value(self, variable):
        self.has_read = True
        return super().get_current_value(variable)


def _drawn(layer, call, training):
    """The graph that `layer.call` draws on symbolic tensors. Nothing is changed by it.

    Where that fails at the sizes of the call, it is drawn with open ones: a model inside may have been built for other
    sizes than those that it is called on, which tensors with numbers do not mind.
    """
    try:
        return _drawn_once(layer, call, training, is_open=False)
    except _Closed as closed:
        if isinstance(closed.__cause__, ValueError):  # what Keras says of a shape
            with contextlib.suppress(_Closed):
                return _drawn_once(layer, call, training, is_open=True)
        raise


def _drawn_once(layer, call, training, is_open):
    inputs = []

    def new_input(value):
        if not isinstance(value, keras.KerasTensor):
            return value
        shape = with_open_sides(value.shape) if is_open else value.shape
        inputs.append(keras.Input(batch_shape=shape, dtype=value.dtype))
        is_cast = "float" in value.dtype and layer.autocast and layer.compute_dtype not in (None, value.dtype)
        return keras.layers.Identity(dtype=layer.compute_dtype)(inputs[-1]) if is_cast else inputs[-1]

    args, kwargs = keras.tree.map_structure(new_input, (call.args, call.kwargs))
    takes_training = "training" in inspect.signature(layer.call).parameters
    kwargs = {name: value for name, value in kwargs.items() if name != "training"}
    before = dict(vars(layer))
    try:
        with _ReadingScope() as scope:
            outputs = layer.call(*args, **kwargs, **({"training": training} if takes_training else {}))
        after = vars(layer)
        is_as_before = after.keys() == before.keys() and all(after[name] is value for name, value in before.items())
        is_pure = not scope.state_mapping and not scope.losses and is_as_before
        if not all(isinstance(output, keras.KerasTensor) for output in keras.tree.flatten(outputs)):
            raise _Closed("returns more than tensors")
        outputs = keras.tree.map_structure(lambda x: _behind(x, inputs), outputs)
        with dtype_policy(layer.dtype_policy):  # a model casts what it is given to its own
            graph = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=layer.name)
            graph = _as_keras_calls(graph, with_open_inputs if is_open else lambda layer: layer)
    except _Closed:
        raise
    except Exception as error:  # of whatever kind: the layer's own code runs here
        raise _Closed(f"has a call() that does not run on symbolic tensors ({type(error).__name__})") from error
    finally:
        if not all(name in before for name in vars(layer)):
            vars(layer).clear()
        vars(layer).update(before)
    if scope.has_read:
        raise _Closed("computes with weights of its own")
    if not is_pure:
        raise _Closed("changes its state when it is called, or adds losses")
    return graph


def _as_keras_calls(model, replace):
    """The model without `training` in calls of layers that do not take it. A layer passes over it, a graph does not.

    Args:
        replace: function, layer -> the layer in its place.
    """

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.layers.Layer) and "training" not in inspect.signature(layer.call).parameters:
            kwargs.pop("training", None)
        return layer(*args, **kwargs)

    return keras.models.clone_model(model, input_tensors=new_inputs(model), clone_function=replace, call_function=call)


def _behind(output, inputs):
    """The output, no input as it is: Keras cannot trace a model in another one that returns such."""
    is_input = any(output is tensor for tensor in inputs)
    return (
        keras.layers.Identity(dtype=output.dtype if "float" in output.dtype else None)(output) if is_input else output
    )


def _given(call):
    """What a call is given, its tensors by shape and dtype."""
    leaves = keras.tree.flatten((call.args, call.kwargs))
    return [(*x.shape, x.dtype) if isinstance(x, keras.KerasTensor) else x for x in leaves]


def _steps(graph):
    """What a model does, call by call, with numbers for tensors; `training` goes through to the layers."""
    order = {tensor: number for number, tensor in enumerate(graph.inputs)}
    steps = []
    for call in graph.calls:
        numbers = {id(slot): order[tensor] for slot, tensor in zip(call.slots, call.inputs, strict=True)}
        kwargs = {name: value for name, value in call.kwargs.items() if name != "training"}
        leaves = keras.tree.flatten((call.args, kwargs))
        # A layer with state must be the same object; others may be made anew in each call.
        has_state = isinstance(call.operation, keras.layers.Layer) and call.operation.variables
        what = id(call.operation) if has_state else call.operation
        steps.append((what, [("tensor", numbers[id(x)]) if id(x) in numbers else x for x in leaves]))
        order.update({tensor: len(order) + place for place, tensor in enumerate(call.outputs)})
    return [*steps, [order[tensor] for tensor in graph.outputs]]
