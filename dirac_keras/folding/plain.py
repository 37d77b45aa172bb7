"""Whether a network is plain: one layer behind the other, nothing added to anything."""

import keras

from dirac_keras.graph.trace import trace
from dirac_keras.layers import VariableSkip
from dirac_keras.listing import by_reason


def assert_plain(model):
    """Prove from the graph that a network has no skip: nowhere do two tensors meet.

    A skip leaves the chain and comes back, so some layer or operation takes two tensors: the sum, product,
    concatenation of them. There is none if each takes one. Layers whose code is not visible here (Lambda, subclassed
    models, layers that are neither Keras' nor of this package) could hide one and are refused.

    Args:
        model: Functional or built Sequential `keras.Model`; nested models are opened.

    Raises: AssertionError: with the layers that are in the way. ValueError: if the model has no graph of layers.

    Example:
    >>> folded, report = fold(model)
    >>> assert_plain(folded)
    """
    reasons = [(call.path, reason) for call in trace(model).calls if (reason := _why_not_plain(call))]
    if reasons:
        raise AssertionError(f"'{model.name}' is not plain: {by_reason(reasons)}.")


def _why_not_plain(call):
    operation = call.operation
    kind = type(operation)
    if kind is VariableSkip:
        return "is a VariableSkip"
    if len(call.inputs) > 1:
        return f"{kind.__name__} joins {len(call.inputs)} tensors"
    if isinstance(operation, keras.Model):
        return f"{kind.__name__} is a model whose graph is not visible"
    if kind is keras.layers.Lambda or kind.__module__.split(".")[0] not in ("keras", "dirac_keras"):
        return f"{kind.__name__} has code that is not visible"
    return None
