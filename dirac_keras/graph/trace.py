"""The graph of a Functional or Sequential model, nested models opened, read through Keras' public API."""

from dataclasses import dataclass, field

import keras

from dirac_keras.graph.functional import as_functional, check_has_graph, has_graph, new_inputs
from dirac_keras.graph.integers import integer_tensors


@dataclass(eq=False)
class Call:
    """One call of a layer or raw operation.

    Tensors are numbered; `inputs` repeats one that is used twice. `slots` are the `KerasTensor` objects of `args` and
    `kwargs` that the inputs stand for, in the same order: what else is in the arguments is constant. Where folding has
    made a sum with factors of a call, whatever its operation is, `factors` has one for each input; None elsewhere.
    """

    operation: object
    path: str
    args: tuple
    kwargs: dict
    inputs: list
    slots: list
    outputs: list
    input_shapes: list
    output_shapes: list
    input_dtypes: list
    output_dtypes: list
    training: bool  # called with training=True, itself or a model around it
    factors: list | None = None

    def keep_inputs(self, places):
        """Leaves it the inputs at these places."""
        for name in ("inputs", "slots", "input_shapes", "input_dtypes", "factors"):
            if (values := getattr(self, name)) is not None:
                setattr(self, name, [values[place] for place in places])


@dataclass(eq=False)
class Graph:
    """Calls in the order in which they run, and who produces and consumes each tensor.

    `closed` has the ids of nested models with a graph that were not opened: one of their calls is on inputs of another
    structure or rank than their own.
    """

    calls: list
    inputs: list
    outputs: list
    closed: set = field(default_factory=set)
    producer: dict = field(init=False)
    consumers: dict = field(init=False)
    calls_of: dict = field(init=False)
    integers: set = field(init=False)  # tensors that hold no floating-point numbers, as the graph was made

    def __post_init__(self):
        self.integers = integer_tensors(self.calls)
        self.producer, self.consumers, self.calls_of = {}, {}, {}
        for call in self.calls:
            self.calls_of.setdefault(id(call.operation), []).append(call)
            for tensor in call.outputs:
                self.producer[tensor] = call
            for tensor in call.inputs:
                self.consumers.setdefault(tensor, []).append(call)

    def remove(self, call):
        """Takes a call with one output out: its consumers read its first input. Others would be masks."""
        source, (target,) = call.inputs[0], call.outputs
        readers = self.consumers.pop(target, [])
        for reader in readers:
            reader.inputs = [source if tensor == target else tensor for tensor in reader.inputs]
        for tensor in set(call.inputs):
            self.consumers[tensor] = [other for other in self.consumers[tensor] if other is not call]
        self.consumers[source] += readers
        self.outputs = [source if tensor == target else tensor for tensor in self.outputs]
        self.calls = [other for other in self.calls if other is not call]
        self.calls_of[id(call.operation)].remove(call)
        del self.producer[target]

    def cut_input(self, call, tensor):
        """Takes a tensor off the inputs of a call, which keeps the others."""
        kept = [place for place, other in enumerate(call.inputs) if other != tensor]
        call.keep_inputs(kept)
        self.consumers[tensor] = [other for other in self.consumers[tensor] if other is not call]

    def prune(self, tensors):
        """Takes out what produces these tensors, as far as nothing else uses it. Returns: list of the calls."""
        pruned, waiting = [], list(tensors)
        while waiting:
            call = self.producer.get(waiting.pop())
            if call is None or any(self.consumers.get(tensor) or tensor in self.outputs for tensor in call.outputs):
                continue
            for tensor in set(call.inputs):
                self.consumers[tensor] = [other for other in self.consumers[tensor] if other is not call]
            for tensor in call.outputs:
                del self.producer[tensor]
            self.calls = [other for other in self.calls if other is not call]
            self.calls_of[id(call.operation)].remove(call)
            pruned.append(call)
            waiting += call.inputs
        return pruned


def trace(model, shapes=None):
    """Reads the graph of `model`; nested models with a graph are opened, their inner calls take their place.

    Args:
        model: Functional or built Sequential model. It is not called and not changed.
        shapes: None, or list of input shapes with the batch axis, to trace with other sizes than the model's.

    Returns: `Graph`.
    Raises: ValueError: if the model has no graph of layers.
    """
    check_has_graph(model)
    functional = as_functional(model)
    closed = set()
    while True:
        tracer = _Tracer(closed)
        inputs, outputs = tracer.run(functional, new_inputs(functional, shapes), path="", training=False)
        if tracer.closed == closed:
            return Graph(
                tracer.calls,
                [tracer.resolve(tensor) for tensor in inputs],
                [tracer.resolve(tensor) for tensor in outputs],
                closed,
            )
        closed = tracer.closed  # a model that is opened in one call and not in another has to stay as it is


class _Probe(keras.Operation):
    """Stands for a layer while the graph is read: the same output shapes, no weights, no computation."""

    def __init__(self, operation):
        super().__init__(name=operation.name)
        self.operation = operation

    def compute_output_spec(self, *args, **kwargs):
        return self.operation.compute_output_spec(*args, **kwargs)

    def call(self, *args, **kwargs):
        raise NotImplementedError("Probes are never run on values.")


class _Tracer:
    def __init__(self, closed):
        self.calls = []
        self.closed = set(closed)
        self._same_as = {}
        self._alive = []  # tensors are told apart by id, so none may be collected meanwhile

    def resolve(self, tensor):
        key = id(tensor)
        while key in self._same_as:
            key = self._same_as[key]
        return key

    def run(self, functional, inputs, path, training):
        traced = keras.models.clone_model(
            functional,
            input_tensors=inputs,
            clone_function=_Probe,
            call_function=lambda probe, *args, **kwargs: self._record(probe, args, kwargs, path, training),
        )
        self._alive.append(traced)
        return keras.tree.flatten(traced.input), keras.tree.flatten(traced.output)

    def _record(self, probe, args, kwargs, path, training):
        operation = probe.operation
        outputs = probe(*args, **kwargs)
        flat_outputs = keras.tree.flatten(outputs)
        training = training or called_with_training(args, kwargs)
        flat_inputs = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        self._alive.append((flat_inputs, flat_outputs))
        if has_graph(operation):
            if id(operation) not in self.closed and self._open(operation, args, kwargs, flat_outputs, path, training):
                return outputs
            self.closed.add(id(operation))
        self.calls.append(
            Call(
                operation=operation,
                path=path + operation.name,
                args=args,
                kwargs=kwargs,
                inputs=[self.resolve(x) for x in flat_inputs],
                slots=flat_inputs,
                outputs=[id(x) for x in flat_outputs],
                input_shapes=[tuple(x.shape) for x in flat_inputs],
                output_shapes=[tuple(x.shape) for x in flat_outputs],
                input_dtypes=[x.dtype for x in flat_inputs],
                output_dtypes=[x.dtype for x in flat_outputs],
                training=training,
            )
        )
        return outputs

    def _open(self, model, args, kwargs, flat_outputs, path, training):
        functional = as_functional(model)
        given = _flat_inputs(args[0] if args else kwargs.get("inputs"), functional)
        if given is None:
            return False
        inputs = new_inputs(functional, [x.shape for x in given])
        for inner, outer in zip(keras.tree.flatten(inputs), given, strict=True):
            self._same_as[id(inner)] = self.resolve(outer)
        _, outputs = self.run(functional, inputs, f"{path}{model.name}/", training)
        for inner, outer in zip(outputs, flat_outputs, strict=True):
            if self.resolve(inner) != id(outer):  # equal if the model returns an input as it is
                self._same_as[id(outer)] = self.resolve(inner)
        return True


def _flat_inputs(given, functional):
    """The tensors that a nested model was called on, in the order of its inputs; None if they are not of its form."""
    own = functional.input
    if isinstance(given, dict) and not isinstance(own, dict):  # Keras goes by the inputs' names
        names = [tensor.name for tensor in functional.inputs]
        is_flat = isinstance(own, keras.KerasTensor) or all(isinstance(tensor, keras.KerasTensor) for tensor in own)
        if not is_flat or not given.keys() >= {*names}:
            return None
        given = [given[name] for name in names]
    elif isinstance(own, dict) and not isinstance(given, dict) and list(own) != sorted(own):
        return None
    flat = keras.tree.flatten(given)
    fits = len(flat) == len(functional.inputs) and all(
        isinstance(x, keras.KerasTensor) and len(x.shape) == len(y.shape)
        for x, y in zip(flat, functional.inputs, strict=True)
    )
    return flat if fits else None


def called_with_training(args, kwargs):
    """Whether a call fixes training=True, so that the layer works in training mode at inference too."""
    return kwargs.get("training") is True or any(argument is True for argument in args[1:])
