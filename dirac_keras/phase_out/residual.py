"""What is left of the skips of a network, and the seal that takes the last of it."""

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from dirac_keras.errors import UserError
from dirac_keras.layers import VariableSkip
from dirac_keras.listing import listed

TOLERANCE = 1e-2  # of a skip's factor 1 - alpha: what is below it is taken for gone


@dataclass(frozen=True)
class SkipState:
    """One skip: means over its units of alpha (times the ramp), of lambda and of `(1 - alpha)^2`, and what is left.

    `largest` is the largest factor `1 - alpha` of a unit, `lagrangian` the value of `lambda^T (alpha - 1)`.
    """

    alpha: float
    multiplier: float
    residual: float
    largest: float
    lagrangian: float


def find_skips(model):
    """`{path: VariableSkip}` of a model and the models in it, in the order of its layers."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, VariableSkip):
            found[layer.name] = layer
        elif isinstance(layer, keras.Model):
            found |= {f"{layer.name}/{path}": skip for path, skip in find_skips(layer).items()}
    return found


def measure_skips(model):
    """`{path: SkipState}` of every `VariableSkip` of a model, nested models included."""
    return {path: skip_state(layer) for path, layer in find_skips(model).items()}


def skip_state(layer):
    """`SkipState` of one layer."""
    left = ops.convert_to_numpy(layer.skip_weight()).astype("float64")  # 1 - ramp alpha
    alpha = ops.convert_to_numpy(layer.alpha).astype("float64")
    multiplier = ops.convert_to_numpy(layer.multiplier).astype("float64")
    has_begun = float(ops.convert_to_numpy(layer.ramp)) > 0
    return SkipState(
        alpha=float(np.mean(1.0 - left)),
        multiplier=float(np.mean(multiplier)),
        residual=float(np.mean(np.square(left))),
        largest=float(np.max(left)),
        lagrangian=float(np.sum(multiplier * (alpha - 1.0))) if has_begun else 0.0,
    )


def mean_residual(states):
    """Mean over layers of `mean((1 - alpha)^2)`: what is left of the skips, 1 at the start, 0 without skips.

    Args:
        states: as `measure_skips` returns.

    Source: Monti, Tootoonian & Cao, caption of Fig. 2.
    """
    return float(np.mean([state.residual for state in states.values()]))


def seal_skips(model, tolerance=TOLERANCE):
    """Set alpha to exactly 1 in every skip, so that the network is plain and `fold` takes the skips out.

    Args:
        model: `keras.Model`, changed in place.
        tolerance: number of 0 or more, the largest factor `1 - alpha` of a unit that may be dropped.

    Raises: ValueError: if the model has no `VariableSkip`, or one has a larger factor; nothing is changed then.
    """
    check_number("tolerance", tolerance)
    skips = require_skips(model)
    open_skips = {path: layer for path, layer in skips.items() if skip_state(layer).largest > tolerance}
    if open_skips:
        raise UserError(
            f"The skips must be gone before they are sealed: at most {tolerance:g} of each unit's. "
            f"Received '{model.name}' with {describe(open_skips)}; train on, or give a larger tolerance."
        )
    for layer in skips.values():
        seal(layer)


def seal(layer):
    """One layer's alpha = 1, whatever is left."""
    layer.alpha.assign(np.ones(layer.alpha.shape, "float32"))
    layer.ramp.assign(1.0)


def describe(skips, most=5):
    """Skips by path, each with what is left of it, for a message."""
    parts = [f"'{path}' (1 - alpha up to {skip_state(layer).largest:.3g})" for path, layer in skips.items()]
    return listed(parts, most)


def require_skips(model):
    """`find_skips`. Raises: ValueError: if there are none."""
    skips = find_skips(model)
    if not skips:
        raise UserError(f"The model must have a VariableSkip layer. Received '{model.name}', which has none.")
    return skips


def check_number(name, value):
    """Raise ValueError unless an argument is finite and 0 or more."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0:
        raise UserError(f"{name} must be a number of 0 or more. Received {name}={value!r}.")
