"""Sizes for what a model leaves open: such that each of its tensors has numbers in it."""

import itertools
import math
import re

from dirac_keras.errors import UserError
from dirac_keras.failures import CHANNELS_FIRST, is_of_channels_first
from dirac_keras.graph.trace import trace

# Powers of 2 first: they survive halving, and joins of what was halved and doubled again.
_SIZES = (32, 64, 128, 12, 224, 256, 512, 1024)  # 12 for what has a table of so many positions, as not all have more
_SMALL_SIZES = (16, 8, 5, 4, 3, 2)
_FACTORS = (1, 2, 0.5)  # of one input's size to the next input's
_BATCH = 4


def possible_shapes(model, batch=_BATCH):
    """Shapes of all inputs at which no tensor of the model is empty and no layer refuses its input.

    The same number stands for every open size, as two inputs mostly have to match; after those, one input's is twice
    or half another's. A batch that the model fixes for one input is taken for all.

    Args:
        model: Functional or built Sequential model.
        batch: int, for an open batch.

    Yields: list of shapes with the batch axis, one per `model.inputs`, without None.
    Raises: ValueError: if no shapes were found; the message says what was in the way.
    """
    is_found, first_reason = False, None
    for shapes in _candidates(model, batch):
        reason = why_not(model, shapes)
        if reason is None:
            is_found = True
            yield shapes
        first_reason = first_reason or reason
    if not is_found:
        raise UserError(
            f"no shapes were found for the inputs of '{model.name}', of shape "
            f"{', '.join(str(tuple(tensor.shape)) for tensor in model.inputs)}: {first_reason}."
        )


def working_shapes(model, batch=_BATCH):
    """The first of `possible_shapes`."""
    return next(iter(possible_shapes(model, batch)))


def _candidates(model, batch):
    tensors = model.inputs
    fixed = [tensor.shape[0] for tensor in (*tensors, *model.outputs) if len(tensor.shape) and tensor.shape[0]]
    open_inputs = [place for place, tensor in enumerate(tensors) if None in tensor.shape[1:]]
    for first in fixed[:1] or (batch, 1):  # a constant among the tensors may have a batch that broadcasts with 1 alone
        if not open_inputs:
            yield _filled(tensors, first, {})
            continue
        different = [(1, *factors) for factors in itertools.product(_FACTORS, repeat=min(len(open_inputs) - 1, 2))]
        equal = different.pop(0)
        for size, factors in (
            *((size, equal) for size in _SIZES),
            *itertools.product(_SIZES[:3], different),
            *((size, equal) for size in _SMALL_SIZES),
        ):
            lengths = itertools.chain((math.ceil(size * factor) for factor in factors), itertools.repeat(size))
            yield _filled(tensors, first, dict(zip(open_inputs, lengths, strict=False)))


def in_words(error):
    """The message of an error in a layer: which class, and what it said, without Keras' frame and escape sequences."""
    if is_of_channels_first(error):
        return CHANNELS_FIRST
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    text = re.sub(r"Exception encountered when calling _Probe\.call\(\)\.", "", text)  # the trace's own
    text = re.sub(r"Exception encountered when calling (\w+)\.call\(\)\.", r"in \1:", text)
    return " ".join(text.split("Arguments received by")[0].split()).rstrip(".")[:300]


def _filled(tensors, batch, sizes):
    return [
        tuple(
            (batch if axis == 0 else sizes[place]) if length is None else length for axis, length in enumerate(x.shape)
        )
        for place, x in enumerate(tensors)
    ]


def why_not(model, shapes):
    """What keeps inputs of these shapes from going through the model: an error of a layer, or a tensor that is empty.

    Args:
        model: Functional or built Sequential model.
        shapes: list of shapes with the batch axis, one per `model.inputs`.

    Returns: str without a full stop, or None if nothing does.
    """
    given = f"with inputs of shape {', '.join(map(str, shapes))}"
    try:
        graph = trace(model, shapes)
    except Exception as error:  # of whatever kind a layer raises
        return f"{given}, {type(error).__name__}: {in_words(error)}"
    used = {*graph.outputs, *graph.consumers}  # layers may say that they give a thing, empty, which nobody asked for
    for call in graph.calls:
        for tensor, shape in zip(call.outputs, call.output_shapes, strict=True):
            if tensor in used and any(length is not None and length < 1 for length in shape):
                return f"{given}, layer '{call.path}' gives an empty tensor of shape {shape}"
    return None
