"""Which rule a layer has."""

from dirac_keras.folding.package_objects import is_from_package
from dirac_keras.folding.rules.base import RULES, known_class
from dirac_keras.folding.rules.normalization import BatchNormalizationRule
from dirac_keras.folding.rules.wrappers import WRAPPERS, inside


class Rules:
    """The rules of one model's layers, each made once: what a merge changes in it, the next merge finds there."""

    def __init__(self):
        self._made = {}  # id(layer) -> rule

    def of(self, operation):
        """The rule of a layer; None if its type has none."""
        if id(operation) not in self._made and has_rule(operation):
            self._made[id(operation)] = RULES[known_class(type(operation))](operation)
        return self._made.get(id(operation))


def has_rule(operation):
    layer = inside(operation)
    return known_class(type(layer)) not in (None, *WRAPPERS)


def is_batch_normalization(operation):
    return has_rule(operation) and RULES[known_class(type(inside(operation)))] is BatchNormalizationRule


def plain_class(operation):
    """The Keras class that a layer of this package becomes; None for other layers."""
    layer = inside(operation)
    return RULES[known_class(type(layer))].plain_class if has_rule(layer) and is_from_package(layer) else None
