"""Layers by their names: `stem*,group1*`, and a number for each such group: `head*=1,group*=0.1`."""

import dataclasses
import fnmatch
import logging
import math

from dirac_keras.errors import UserError
from dirac_keras.training.checks import TEXT, shortened

logger = logging.getLogger("dirac_keras")


def parse_patterns(text):
    """The patterns of `"stem*,group1*"` as a tuple, in their order."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_rates(text):
    """`"head*=1,group*=0.1"` as a tuple of `(pattern, factor)`, in their order.

    Raises: ValueError: if a part has another form, or a factor is not finite and above 0.
    """
    rates = []
    for part in parse_patterns(text):
        pattern, _, number = part.rpartition("=")
        factor = float(number)
        if not pattern.strip() or not math.isfinite(factor) or factor <= 0:
            raise ValueError(part)
        rates.append((pattern.strip(), factor))
    return tuple(rates)


def layer_of(variable):
    """Path of the layer that a variable is of, as in `group1_block1_conv` or `inner/conv1`."""
    return variable.path.rpartition("/")[0]


def factor_of(variable, rates):
    """The factor of the first pattern that the layer of a variable fits; 1 if it fits none."""
    layer = layer_of(variable)
    return next((factor for pattern, factor in rates if fnmatch.fnmatchcase(layer, pattern)), 1.0)


def check_rates(model, rates, are_unfrozen=False):
    """See to it that each factor is one of some weights that are trained.

    Args:
        model: `keras.Model`, its frozen layers frozen.
        rates: as `parse_rates` gives them.
        are_unfrozen: bool, whether frozen layers are trained later.

    A factor without layers of its own is a fault where a pattern of more layers stands before it: the two are in the
    wrong order. Behind patterns of no more layers, `*` says what holds for the rest, even if there is no rest.

    Raises: UserError: if a pattern fits no layer with weights, or only such that a wider one before it fits. What has
        no effect otherwise is logged, for a recipe's factors may be of more layers than are trained.
    """
    layers_like(model, [pattern for pattern, _ in rates], "learning_rate_of")
    all_layers = dict.fromkeys(layer_of(variable) for variable in model.variables)
    trained = {layer_of(variable) for variable in model.trainable_variables}
    taken, earlier = set(), []
    for pattern, factor in rates:
        fitted = {layer for layer in all_layers if fnmatch.fnmatchcase(layer, pattern)}
        shown = f"{pattern}={factor:g}"
        if not fitted:
            raise UserError(
                f"learning_rate_of: {pattern!r} fits no path of weights, as {next(iter(all_layers))!r} is one: begin "
                f"or end it with *. Received {shown}."
            )
        if wider := next((one for one, layers in earlier if layers > fitted), None):
            raise UserError(
                f"learning_rate_of: {pattern!r} stands behind {wider!r}, which fits its layers already: put it before. "
                f"Received {shown}."
            )
        if fitted <= taken:
            logger.info("learning_rate_of: %s has no effect, as patterns before it fit its layers", shown)
        elif not are_unfrozen and not trained.intersection(fitted - taken):
            logger.info("learning_rate_of: %s has no effect, as its layers are frozen", shown)
        taken |= fitted
        earlier.append((pattern, fitted))


def layers_like(model, patterns, name):
    """The layers of a model that fit at least one pattern.

    Args:
        model: `keras.Model`.
        patterns: sequence of str, in the manner of file names; `*` stands for anything.
        name: str, the argument that gave them, for the message.

    Raises: UserError: if a pattern fits no layer that has weights.
    """
    weighted = [layer for layer in model.layers if layer.weights]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(layer.name, pattern) for layer in weighted):
            names = [layer.name for layer in weighted]
            shown = ", ".join(names if len(names) <= 8 else [*names[:4], "...", *names[-3:]])
            raise UserError(
                f"{name} must fit names of layers with weights. Received {pattern!r}, which none in '{model.name}' "
                f"does; they are {shown}."
            )
    return [layer for layer in model.layers if any(fnmatch.fnmatchcase(layer.name, one) for one in patterns)]


@dataclasses.dataclass(frozen=True)
class Patterns:
    """A text of `parse_patterns`, for a field of a configuration."""

    def check(self, name, value):
        """Raise UserError unless `value` fits."""
        TEXT.check(name, value)
        if not parse_patterns(value):
            raise UserError(f"{name} must be names of layers, such as 'conv1*,group1*'. Received {name}={value!r}.")


@dataclasses.dataclass(frozen=True)
class Rates:
    """A text of `parse_rates`, for a field of a configuration."""

    def check(self, name, value):
        """Raise UserError unless `value` fits."""
        TEXT.check(name, value)
        try:
            is_given = bool(parse_rates(value))
        except ValueError:
            is_given = False
        if not is_given:
            raise UserError(
                f"{name} must be factors above 0 for groups of layers, such as 'head*=1,group*=0.1'. "
                f"Received {name}={shortened(value)}."
            )
