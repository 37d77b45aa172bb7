"""A network as one list of calls: nested models and layers of layers opened, to be run from any tensor on."""

import dataclasses
import inspect
import itertools
import logging

import keras

from dirac_keras.errors import UserError
from dirac_keras.folding.inventory import layers_inside
from dirac_keras.graph.casting import has_low_precision, to_float32
from dirac_keras.graph.execution import apply_call
from dirac_keras.graph.functional import has_graph
from dirac_keras.graph.layer_types import is_from_keras
from dirac_keras.graph.opened import open_call
from dirac_keras.graph.sizes import in_words
from dirac_keras.graph.trace import Graph, trace

logger = logging.getLogger("dirac_keras")


def open_network(model, shapes):
    """The `Graph` of a model, everything in it opened that can be read.

    Args:
        model: built `keras.Model`: Functional, Sequential, or a subclass, whose `call` is read by running it on
            symbols.
        shapes: list of the inputs' shapes, each with the batch axis.

    Returns: `(Graph, model)`: the paths of the calls join the names of the models and layers around, as in
        `backbone/block/conv`; what cannot be opened is one call. The model is the one that the calls belong to: a copy
        in float32 if the one that is given computes in less.
    Raises: ValueError: if `model` is no built `keras.Model`, or does not run on such shapes.
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise UserError(
            "model must be a built keras.Model: call it once on images, or give it a keras.Input. "
            f"Received model={model!r}."
        )
    is_wrapped = not has_graph(model)
    model = _with_graph(model, shapes)
    if len(model.inputs) != len(shapes):
        raise UserError(
            f"model '{model.name}' has {len(model.inputs)} inputs and {len(model.outputs)} outputs; one of each is "
            "explained. Take the part that you mean: keras.Model(input, output)."
        )
    _check_shapes(model, shapes)
    if has_low_precision(model):  # whose gradients vanish
        model = _in_float32(model)
    try:
        outer = trace(model, shapes)
    except Exception as error:  # of whatever kind a layer raises
        raise UserError(
            f"images: model '{model.name}' does not take inputs of shape {', '.join(map(str, shapes))}: "
            f"{in_words(error)}."
        ) from error
    opener = _Opener()
    inputs = [next(opener.numbers) for _ in outer.inputs]
    outputs = opener.splice(outer, inputs, "")
    if is_wrapped:  # all lies in the one call of the model that was given
        calls = opener.calls
        opener.calls = [dataclasses.replace(one, path=one.path.removeprefix(f"{model.name}/")) for one in calls]
    return Graph(opener.calls, inputs, outputs), model


def run(calls, values, outputs=()):
    """Run calls in their order.

    Args:
        calls: list of `Call`.
        values: dict, number of a tensor -> its value, which is filled. What no later call reads is dropped.
        outputs: numbers of tensors that are kept.

    Returns: `values`.
    """
    last = {tensor: place for place, call in enumerate(calls) for tensor in call.inputs}
    for place, call in enumerate(calls):
        values.update(zip(call.outputs, keras.tree.flatten(apply_call(call, values)), strict=True))
        for tensor in {*call.inputs, *call.outputs}:
            if last.get(tensor, -1) <= place and tensor not in outputs:
                values.pop(tensor, None)
    return values


def needed(calls, tensor):
    """Those of the calls that a tensor is computed with, in order."""
    wanted, found = {tensor}, []
    for call in reversed(calls):
        if wanted & {*call.outputs}:
            wanted |= {*call.inputs}
            found.append(call)
    return found[::-1]


def split_at(calls, tensor):
    """The calls that do not depend on a tensor, and those that do, each in order."""
    reached, before, behind = {tensor}, [], []
    for call in calls:
        if tensor in call.outputs or not reached & {*call.inputs}:
            before.append(call)
        else:
            behind.append(call)
            reached |= {*call.outputs}
    return before, behind


class _Opener:
    def __init__(self):
        self.numbers, self.calls, self._alive = itertools.count(), [], []

    def splice(self, graph, inputs, path):
        """Append the calls of a graph under numbers of their own. Returns: the numbers of its outputs."""
        number = dict(zip(graph.inputs, inputs, strict=True))
        self._alive.append(graph)
        for call in graph.calls:
            given = [number[tensor] for tensor in call.inputs]
            inner = open_call(call) if _is_worth_opening(call.operation) else None
            if inner is not None:
                made = self.splice(inner, given, f"{path}{call.path}/")
            else:
                made = [next(self.numbers) for _ in call.outputs]
                self.calls.append(dataclasses.replace(call, path=path + call.path, inputs=given, outputs=made))
            number.update(zip(call.outputs, made, strict=True))
        return [number[tensor] for tensor in graph.outputs]


def _is_worth_opening(operation):
    if not isinstance(operation, keras.layers.Layer) or has_graph(operation) or is_from_keras(operation):
        return False
    return bool(layers_inside(operation))


def _in_float32(model):
    try:
        return to_float32(model)
    except Exception as error:  # a layer of another's that cannot be made anew
        logger.warning("explained in the precision of the model, as no copy in float32 can be made: %s", error)
        return model


def _check_shapes(model, shapes):
    own = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    for takes, shape in zip(own, shapes, strict=False):
        if len(takes) != len(shape[1:]) or any(a not in (None, b) for a, b in zip(takes, shape[1:], strict=True)):
            raise UserError(f"images: model '{model.name}' takes images of shape {takes}. Received {shape[1:]}.")


def _with_graph(model, shapes):
    """The model itself, or a Functional one that calls it."""
    if has_graph(model):
        return model
    try:
        inputs = [keras.Input(batch_shape=(None, *shape[1:]), dtype=model.input_dtype) for shape in shapes]
        at_inference = {"training": False} if "training" in inspect.signature(model.call).parameters else {}
        return keras.Model(inputs, model(inputs[0] if len(inputs) == 1 else inputs, **at_inference), name=model.name)
    except Exception as error:  # another's code runs here
        raise UserError(
            f"model '{model.name}' ({type(model).__name__}) does not run on symbols of shape {shapes[0]}: "
            f"{in_words(error)}. Build it with keras.Model(inputs, outputs)."
        ) from error
