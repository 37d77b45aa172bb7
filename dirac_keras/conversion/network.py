"""A network as steps that can be replaced, read from a Keras model and built as one again."""

import keras
import numpy as np

from dirac_keras.conversion.bounds import bounds_of
from dirac_keras.conversion.steps import Step, layer_of, new_tensor, parts_of, steps_of
from dirac_keras.errors import UserError
from dirac_keras.folding.copies import make_again
from dirac_keras.folding.inventory import layers_inside
from dirac_keras.folding.misplaced import adds_elsewhere
from dirac_keras.folding.rebuild import Changes, rebuild
from dirac_keras.folding.rules import Rules
from dirac_keras.folding.rules.base import LinearRule
from dirac_keras.graph.functional import as_functional, new_inputs
from dirac_keras.graph.names import unused_name
from dirac_keras.graph.trace import trace
from dirac_keras.listing import by_reason
from dirac_keras.precision import dtype_policy

_UNCHANGED = ({}, {}, set(), {}, {}, set(), set(), {})


def copy_of(model, is_trained=True):
    """The same model of layers and weights of its own.

    Raises: UserError: if it is to be trained, and a layer with weights cannot be made again: that stands in both.
    """
    copy, _, shared = rebuild(model, Changes(*_UNCHANGED))
    found = [(path, shared[id(layer)]) for path, layer in layers_inside(model) if id(layer) in shared and layer.weights]
    if is_trained and found:
        said = by_reason((path, uncopied.reason) for path, uncopied in found)
        raise UserError(
            f"model must have layers of which a copy can be trained. Received model '{model.name}', in which "
            f"{len(found)} with weights cannot be made again: {said}. Give their classes a `get_config` and a "
            "`from_config` that make an equal layer."
        )
    return copy


class Network:
    """The steps of a model in which chains are replaced.

    Layers of nested models lie beside each other in it. Where two have one name, the second gets its path as its name.

    Args:
        model: Functional or Sequential model, a copy: its layers may be given other names.
        of: the model that it is a copy of; layers that stand in both keep their names.

    Attributes:
        steps: list of `Step`, not in order once some were replaced.
        bounds: dict, tensor -> `Bounds`, where its channels are known.
        left_out: list of str, layers that did something in training alone and are gone.
    """

    def __init__(self, model, of):
        self.model = model
        graph = trace(model)
        self._names = _name_apart(model, graph.calls, {id(call.operation) for call in trace(of).calls})
        self.inputs, self.outputs = list(graph.inputs), list(graph.outputs)
        self.bounds, axes = bounds_of(graph, Rules())
        self.steps = steps_of(graph, axes)
        self.left_out, self._parts = [], {}
        for step in self.steps:  # a layer that is called in several places, and would be made again in each of them
            is_shared = step.call is not None and len(graph.calls_of[id(step.layer)]) > 1
            if is_shared and step.kind != "other":
                step.layer = make_again(step.layer)
                step.layer.name = self.new_name(step.layer.name)

    def parts_of(self, step):
        """The step as several ones, each of which can carry channels: a separable convolution as two."""
        if step.kind != "separable":
            return [step]
        if id(step.layer) not in self._parts:
            self._parts[id(step.layer)] = parts_of(step, self.new_name)
        return self._parts[id(step.layer)]

    def new_name(self, name):
        """A name for a layer that is added, `name` or near it."""
        return unused_name(name, self._names)

    def producer(self, tensor):
        """The step that makes a tensor; None for an input of the model."""
        return next((step for step in self.steps if tensor in step.outputs), None)

    def readers(self, tensor):
        """Steps that read a tensor, once for each time."""
        return [step for step in self.steps for read in step.inputs if read == tensor]

    def is_read_once(self, tensor):
        return len(self.readers(tensor)) == 1 and tensor not in self.outputs

    def upwards(self, tensor):
        """The tensor and those before it, as far as each is made of one other: `[(tensor, step that makes it)]`."""
        way = []
        while True:
            step = self.producer(tensor)
            way.append((tensor, step))
            if step is None or len(step.inputs) != 1:
                return way
            tensor = step.inputs[0]

    def replace(self, old, new):
        """Puts a chain of new steps in the place of old ones that nothing else reads."""
        gone = {id(step) for step in old}
        self.steps = [step for step in self.steps if id(step) not in gone] + list(new)

    def rename(self, tensor, other):
        """All that read a tensor read another one."""
        for step in self.steps:
            step.inputs = [other if read == tensor else read for read in step.inputs]
        self.outputs = [other if read == tensor else read for read in self.outputs]

    def prune(self):
        """Takes out what no output depends on."""
        self.steps = self.in_order()

    def in_order(self):
        """The steps that the outputs depend on, each behind those that it reads."""
        order, seen = [], set()
        producers = {tensor: step for step in self.steps for tensor in step.outputs}
        waiting = [(producers.get(tensor), False) for tensor in reversed(self.outputs)]
        while waiting:
            step, is_ready = waiting.pop()
            if step is None or (id(step) in seen and not is_ready):
                continue
            if is_ready:
                order.append(step)
                continue
            seen.add(id(step))
            waiting.append((step, True))
            waiting += [(producers.get(tensor), False) for tensor in reversed(step.inputs)]
        return order

    def build(self):
        """A Keras model of the steps, with the model's name, inputs and names of outputs."""
        functional = as_functional(self.model)
        for place, (tensor, name) in enumerate(zip(self.outputs, functional.output_names, strict=True)):
            self.outputs[place] = self._named(tensor, name)
        structure = functional.output
        model = self._model(lambda values: keras.tree.pack_sequence_as(structure, [values[t] for t in self.outputs]))
        if not self.model.trainable:
            model.trainable = False
        return model

    def _named(self, tensor, name):
        """An output under the name of its own, which may be that of a nested model, now taken apart."""
        step = self.producer(tensor)
        is_named = step is None or (step.layer is not None and step.layer.name == name)
        if is_named or name in self._names:
            return tensor
        (named,) = outputs = [new_tensor()]
        self._names.add(name)
        layer = keras.layers.Identity(name=name, dtype=step.dtype)
        self.replace([], [Step("nothing", name, [tensor], outputs, layer=layer, dtype=step.dtype)])
        return named

    def reading(self, tensors):
        """A Keras model that gives some of the tensors, as a list."""
        return self._model(lambda values: [values[tensor] for tensor in tensors])

    def _model(self, outputs_of):
        inputs = new_inputs(as_functional(self.model))
        values = dict(zip(self.inputs, keras.tree.flatten(inputs), strict=True))
        ready, names = [], set(self._names)
        for step in self.in_order():
            if step.call is None and step.layer is None:
                step = step.changed(name=unused_name(step.name, names))
            values |= zip(step.outputs, keras.tree.flatten(self._run(step, values, ready)), strict=True)
        with dtype_policy(self.model.dtype_policy):
            model = keras.Model(inputs, outputs_of(values), name=self.model.name)
        for layer, weights in ready:
            for variable, value in zip(layer.weights, weights, strict=True):
                variable.assign(keras.ops.convert_to_tensor(np.asarray(value), dtype=variable.dtype))
        return model

    def _run(self, step, values, ready):
        if step.call is not None:
            sources = iter(step.inputs)
            args, kwargs = keras.tree.map_structure(
                lambda x: values[next(sources)] if isinstance(x, keras.KerasTensor) else x,
                (step.call.args, step.call.kwargs),
            )
            return step.call.operation(*args, **kwargs)
        layer, weights = layer_of(step)
        read = [values[tensor] for tensor in step.inputs]
        output = layer(read if step.kind == "sum" else read[0])
        _check_bias(layer, weights, output.shape)
        if weights:
            ready.append((layer, weights))
        return output


def _check_bias(layer, weights, shape):
    """Raises: UserError: if a layer that is made anew would add its bias along another axis than its channels."""
    rule = Rules().of(layer)
    is_added = getattr(layer, "use_bias", False) and np.any(weights[-1] != 0.0)
    if is_added and isinstance(rule, LinearRule) and adds_elsewhere(shape, rule.bias_shape(shape)):
        rows = f"rows of {shape[-1]} pixels" if shape[-1] else "rows of any length"
        raise UserError(
            f"model must have its channels last, or another size, to be made plain on TensorFlow: '{layer.name}' would "
            f"give {shape[1]} channels in {rows}, and Keras there adds its bias along whichever is as long. Or set "
            "KERAS_BACKEND=jax."
        )


def _name_apart(model, calls, fixed):
    """Gives operations of one name others, in place. Returns: set of the names in use.

    Args:
        calls: list of `trace.Call` of `model`.
        fixed: set of id(operation), those that keep their names.

    Raises: UserError: if two of those have one name.
    """
    operations = {id(call.operation): (call.path, call.operation) for call in calls}.values()
    # The outer ones keep theirs: outputs are known by them.
    order = sorted(operations, key=lambda pair: (id(pair[1]) not in fixed, pair[0].count("/")))
    names = {layer.name for layer in as_functional(model).layers if isinstance(layer, keras.layers.InputLayer)}
    for path, operation in order:
        if operation.name in names:
            if id(operation) in fixed:
                raise UserError(
                    "model must have layers of different names where no copy of them can be made. Received model "
                    f"'{model.name}', in which '{path}' is one of several '{operation.name}': give it another name."
                )
            operation.name = unused_name(path, names)
        names.add(operation.name)
    return names
