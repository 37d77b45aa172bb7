"""What the original model makes of random inputs, and whether that says anything of a folded one."""

import itertools
from dataclasses import dataclass

import numpy as np

from dirac_keras.folding.differences import Difference, run
from dirac_keras.graph.finite import describe_nonfinite, nonfinite_weights
from dirac_keras.graph.samples import random_inputs
from dirac_keras.graph.sizes import in_words, possible_shapes

LARGEST_TOLERANCE = 0.1  # where rounding may do more, nothing can be told from outputs
_DEPENDENCE = 1e-6  # outputs that other inputs change by less are the same
_SIZES_TRIED = 4
_LEVELS = (256, 2)  # integers of unknown meaning: those of an image, or indices that anything has a row for


@dataclass(frozen=True)
class Sample:
    """Input shapes, and what the original makes of random inputs of these shapes.

    Args:
        shapes: list of shapes with the batch axis; what is open stays None where no size was found.
        why_not: str, why the original cannot be compared with anything; empty if it can.
        reserve: str, why a comparison with it says less than usual; empty if it does not.
    """

    shapes: list
    inputs: object = None
    outputs: list | None = None
    why_not: str = ""
    reserve: str = ""


def input_shapes(model):
    """Shapes for counting: those of `take_sample` as far as they are known without running the model."""
    try:
        return next(iter(possible_shapes(model)))
    except ValueError:
        return [tuple(tensor.shape) for tensor in model.inputs]


def take_sample(model):
    """Runs `model` on random inputs of such shapes that its outputs tell something of a folded model.

    They are finite, depend on the inputs, and come again for the same inputs. Where the first do not, other sizes are
    tried for what is open, and other integers; the best are taken, with what is to be said of them.
    """
    shapes, tried = [tuple(tensor.shape) for tensor in model.inputs], []
    try:
        for shapes in itertools.islice(possible_shapes(model), _SIZES_TRIED):
            for levels in _LEVELS:
                tried.append(_attempt(model, shapes, levels))
                if not (tried[-1].why_not or tried[-1].reserve):
                    return tried[-1]
    except ValueError as error:
        return Sample(shapes, why_not=str(error))
    return min(tried, key=lambda found: (bool(found.why_not), bool(found.reserve)))


def _attempt(model, shapes, levels):
    try:
        inputs = random_inputs(model, shapes, levels=levels)
        outputs = run(model, inputs)
        others = run(model, random_inputs(model, shapes, seed=1, levels=levels))  # other numbers in memory, too
        again = run(model, inputs)
    except Exception as caught:  # of whatever kind: the model's own code runs here
        return Sample(shapes, why_not=f"the original does not run on random inputs ({line_of(caught)})")
    if Difference.of_all(outputs, again).relative > LARGEST_TOLERANCE / 10:
        return Sample(shapes, why_not="the original gives other outputs when it runs on the same inputs again")
    if not any(np.isfinite(output).any() for output in outputs):
        weights = describe_nonfinite(nonfinite_weights(model))
        reason = f"; not finite are its weights {weights}" if weights else ""
        return Sample(shapes, why_not=f"the original gives no finite number on random inputs{reason}")
    reserve = ""
    if not all(np.isfinite(output).all() for output in outputs):
        reserve = "outputs on random inputs are not all finite; only finite ones are compared"
    elif Difference.of_all(outputs, others).relative < _DEPENDENCE:  # as where a layer in a layer has an empty tensor
        reserve = "the outputs do not depend on the inputs: the comparison says little"
    return Sample(shapes, inputs, outputs, reserve=reserve)


def line_of(error):
    """An error's class and what it said, in one line."""
    return f"{type(error).__name__}: {in_words(error)}"
