"""Layers that keep their weights: for the whole training, or until an epoch."""

import contextlib
import logging

import keras

from dirac_keras.errors import UserError
from dirac_keras.training.start.layer_patterns import layers_like, parse_patterns
from dirac_keras.training.stepping.position import generators_of

logger = logging.getLogger("dirac_keras")


def freeze(model, config):
    """Make the layers that `config.freeze` names untrainable; BatchNormalization among them uses its statistics.

    Args:
        model: `keras.Model`, not compiled yet.
        config: `TrainConfig`.

    Raises: UserError: if a pattern fits no layer with weights, or nothing is left to train.
    """
    if config.freeze is None:
        return
    for layer in layers_like(model, parse_patterns(config.freeze), "freeze"):
        layer.trainable = False
    if not model.trainable_variables:
        raise UserError(
            f"freeze must leave a layer to train. Received freeze={config.freeze!r}, which fits all of '{model.name}'."
        )


def is_frozen_at(config, position, steps_per_epoch):
    """Whether the layers of `config.freeze` are frozen in a state at a `Position`.

    A state that was saved where an epoch ends is that before the layers are unfrozen.
    """
    if config.freeze is None:
        return False
    return config.unfreeze_epoch is None or position.step(steps_per_epoch) <= config.unfreeze_epoch * steps_per_epoch


def carry_over(old, new, place):
    """Give a model the state of another one, of which fewer layers were trainable.

    What the optimizer has of a weight goes along; of weights that were frozen it starts with nothing.

    Args:
        old, new: compiled `keras.Model`s of the same layers, `new` with its optimizer built.
        place: `Placement`; the first worker's state counts.
    """
    of_old, of_new = ([*model.weights, *generators_of(model)] for model in (old, new))
    values = place.from_chief([keras.ops.convert_to_numpy(variable) for variable in of_old])
    for variable, value in zip(of_new, values, strict=True):
        variable.assign(value)
    known = {variable.path: variable for variable in old.optimizer.variables}
    ours = [variable for variable in new.optimizer.variables if variable.path in known]
    values = place.from_chief([keras.ops.convert_to_numpy(known[variable.path]) for variable in ours])
    for variable, value in zip(ours, values, strict=True):
        variable.assign(value)


@contextlib.contextmanager
def all_trainable(model):
    """Within, frozen layers count as trainable ones."""
    frozen = [layer for layer in model.layers if not layer.trainable]
    for layer in frozen:
        layer.trainable = True
    try:
        yield
    finally:
        for layer in frozen:
            layer.trainable = False
