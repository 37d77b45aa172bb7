"""`mean(stack([a, b], axis=k), axis=k)` and the sum of it: made the additions that they are, so that branches merge."""

import inspect

import keras

from dirac_keras.graph.layer_types import raw_operation_name

_LAYERS = {"Mean": keras.layers.Average, "Average": keras.layers.Average, "Sum": keras.layers.Add}


def has_sum_of_stack(graph):
    """Whether an operation of a `trace.Graph` adds tensors up that were stacked for it."""
    for call in graph.calls:
        if raw_operation_name(call.operation) in _LAYERS and len(call.inputs) == 1:
            stack = graph.producer.get(call.inputs[0])
            if stack is not None and raw_operation_name(stack.operation) == "Stack":
                return True
    return False


class SumsOfStacks:
    """Calls the operations of a model that is made again, with an `Average` or `Add` for each sum of stacked tensors.

    What nothing reads any more, the stack, is no part of the model that is made.

    Attributes:
        made: dict, id(layer) -> what it was, in words.
    """

    def __init__(self):
        self.made = {}
        self._stacks = {}  # id(tensor) -> (tensor, what was stacked, the axis); holding the tensor keeps its id its own

    def call(self, operation, *args, **kwargs):
        """`operation(*args, **kwargs)`, or what takes its place."""
        if raw_operation_name(operation) in _LAYERS and (stacked := self._stacked(operation, args, kwargs)):
            kind = _LAYERS[raw_operation_name(operation)]
            layer = kind(name=operation.name, dtype=stacked[0].dtype)
            what = raw_operation_name(operation).lower()
            self.made[id(layer)] = f"{what} of {len(stacked)} stacked tensors became {kind.__name__}"
            self._stacks[id(layer)] = layer, None, None
            return layer(stacked)
        result = operation(*args, **kwargs)
        if raw_operation_name(operation) == "Stack":
            tensors = list(_arguments(operation, args, kwargs)["x"])
            self._stacks[id(result)] = result, tensors, operation.axis % len(result.shape)
        return result

    def _stacked(self, operation, args, kwargs):
        """The tensors that an operation adds up, if it does so along the axis on which they were stacked, and no other.

        Integers stay: a mean of them is cast first.
        """
        given = _arguments(operation, args, kwargs)
        source, tensors, axis = self._stacks.get(id(given.pop("x")), (None, None, None))
        if tensors is None or len(tensors) < 2 or getattr(operation, "keepdims", False):
            return None
        if any(value is not None for value in given.values()):  # weights of an average
            return None
        axes = operation.axis if isinstance(operation.axis, (tuple, list)) else [operation.axis]
        is_along = len(axes) == 1 and axes[0] is not None and axes[0] % len(source.shape) == axis
        is_float = all(isinstance(one, keras.KerasTensor) and "float" in one.dtype for one in tensors)
        is_one = is_float and len({(one.shape, one.dtype) for one in tensors}) == 1
        return tensors if is_along and is_one else None


def _arguments(operation, args, kwargs):
    return inspect.signature(operation.call).bind(*args, **kwargs).arguments
