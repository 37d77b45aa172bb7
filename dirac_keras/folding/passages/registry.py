"""Which operations let a scale and a shift through, and how: one `Passage` for each, found by the operation's type."""

import keras

from dirac_keras.folding.refused import Refused
from dirac_keras.folding.rules.rescaling import RescalingRule
from dirac_keras.graph.layer_types import is_from_keras, raw_operation_name

PASSAGES = {}  # exact layer type, or class name of a raw operation -> `Passage`


class Passage:
    """How `scale * x + shift` gets through an operation f.

    The methods raise `Refused` where there is no exact way, with a sentence without its subject.
    """

    def own(self, call):
        """The `Affine` that f itself is, for `y = scale * x + shift`. Raises: Refused: if it is none."""
        raise Refused("is no scale and shift of its input")

    def backward(self, call, index, affine):
        """What the tensors that f reads must become so that its output `index` becomes `scale * y + shift`.

        Other outputs must stay as they are.

        Returns: iterable of alternatives, each a list `[(tensor, Affine)]`.
        """
        raise NotImplementedError

    def forward(self, call, affines):
        """What the outputs of f become if it reads x where it read `scale * x + shift`.

        Args:
            call: `Call` of f.
            affines: dict tensor -> `Affine` of those that carry one.

        Returns: list `[(tensor, Affine)]`.
        """
        raise NotImplementedError


class OneToOne(Passage):
    """A passage of one tensor that becomes another one."""

    def backward(self, call, index, affine):
        self.check(call)
        return [[(call.inputs[0], self.before(call, affine))]]

    def forward(self, call, affines):
        self.check(call)
        return [(call.outputs[0], self.behind(call, affines[call.inputs[0]]))]

    def check(self, call):
        if len(call.inputs) != 1:
            raise Refused("has a mask" if isinstance(call.operation, keras.layers.Layer) else "reads several tensors")

    def before(self, call, affine):
        """The affine of the input that makes `affine` of the output."""
        raise NotImplementedError

    def behind(self, call, affine):
        """The affine of the output that `affine` of the input makes."""
        raise NotImplementedError


def passes(passage, *keys):
    """Registers a passage for exactly these layer types and raw operations; None stands for a type Keras lacks."""
    PASSAGES.update(dict.fromkeys([key for key in keys if key is not None], passage))


def passage_of(operation):
    """The `Passage` of a layer or raw operation; None if nothing gets through."""
    return PASSAGES.get(type(operation)) or PASSAGES.get(raw_operation_name(operation))


def own_affine(call, rules):
    """The `Affine` of an operation that is one, such as `0.3 * x`, `x / 4` or `-x + 1`.

    Args:
        call: of the operation.
        rules: `Rules`, whose numbers count, not those of the layer: another layer may have merged into it.

    Raises: Refused: if it is none.
    """
    passage = passage_of(call.operation)
    if passage is None:
        raise Refused(why_no_passage(call.operation))
    affine, rule = passage.own(call), rules.of(call.operation)
    return rule.own(len(call.output_shapes[0])) if isinstance(rule, RescalingRule) else affine


def why_no_passage(operation):
    """As a sentence without its subject."""
    if isinstance(operation, keras.layers.Layer) and not is_from_keras(operation):
        return "is a layer without a rule"
    return "neither has a kernel nor lets a scale and shift per channel pass through"
