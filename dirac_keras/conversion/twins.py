"""The networks that training makes plain: the residual one with skips that fade, and its twin without skips."""

import keras

from dirac_keras.conversion.dirac import dirac_like
from dirac_keras.conversion.network import Network, copy_of
from dirac_keras.conversion.skips import PlainSkip
from dirac_keras.conversion.steps import Step, new_tensor
from dirac_keras.folding.copies import make_again
from dirac_keras.graph.functional import as_functional
from dirac_keras.layers import VariableSkip
from dirac_keras.listing import quoted


def fading(model):
    """A copy of a residual network, same weights, in which every skip goes through a `VariableSkip`.

    Returns: `(keras.Model, list of PlainSkip, dict join -> reason)`; the model is None where there are reasons.
    """
    network = Network(copy_of(model), of=model)
    skips, reasons = _found(network)
    if reasons:
        return None, skips, reasons
    for join, _, skip in skips:
        tensor = new_tensor()
        layer = VariableSkip(name=network.new_name(f"{join.name}_skip"), dtype=join.dtype)
        network.replace([], [Step("nothing", layer.name, [skip], [tensor], layer=layer)])
        join.inputs = [tensor if read == skip else read for read in join.inputs]
    records = [PlainSkip(join.name, _name(network, skip), "phased out", 0, _name(network, branch))
               for join, branch, skip in skips]  # fmt: skip
    return network.build(), records, {}


def twin(model):
    """The same network without its skips, with Dirac kernels where they fit, its weights at their start.

    Returns: as `fading`.
    """
    start = keras.models.clone_model(as_functional(copy_of(model)), clone_function=_at_start, recursive=True)
    if not model.trainable:
        start.trainable = False
    network = Network(start, of=model)
    skips, reasons = _found(network)
    if reasons:
        return None, skips, reasons
    records = [PlainSkip(join.name, _name(network, skip), "left out", 0, _name(network, branch))
               for join, branch, skip in skips]  # fmt: skip
    for join, branch, _ in skips:
        network.replace([join], [])
        if join.outputs[0] in network.outputs:
            layer = keras.layers.Identity(name=join.layer.name)
            network.replace([], [Step("nothing", join.name, [branch], join.outputs, layer=layer)])
        else:
            network.rename(join.outputs[0], branch)
    network.prune()
    return dirac_like(network.build()), records, {}


def _at_start(layer):
    """A layer with weights as they begin; one without weights that cannot be made again stands in both."""
    try:
        return make_again(layer)
    except Exception:  # of whatever kind: get_config and from_config are the layer's own code
        if layer.weights:
            raise
        return layer


def _found(network):
    """`[(addition, tensor of the branch, tensor of the skip)]`, and the reasons of joins that are none."""
    found, reasons = [], {}
    for step in network.in_order():
        if len(step.inputs) < 2:
            continue
        if step.kind != "sum" or len(step.inputs) != 2:
            reasons[step.name] = (
                f"joins {len(step.inputs)} tensors by {type(step.layer).__name__}, no skip and a branch"
            )
            continue
        lengths = [_distance(network, *pair) for pair in (step.inputs, step.inputs[::-1])]
        if None in lengths and (names := _ends(network, step.inputs)):
            reasons[step.name] = f"a side of it ends at {names}, which joins tensors and stays"
            continue
        if None in lengths or lengths[0] == lengths[1]:
            reasons[step.name] = "which of its sides is the skip cannot be told from their lengths"
            continue
        branch, skip = step.inputs if lengths[0] > lengths[1] else step.inputs[::-1]
        found.append((step, branch, skip))
    return found, reasons


def _distance(network, tensor, other):
    """Steps from the tensor where two sides begin to one of them, skips on the way jumped over."""
    beside = _before(network, other)
    return next((place for place, one in enumerate(_before(network, tensor)) if one in beside), None)


def _before(network, tensor):
    """The tensor and those before it; any side of an addition on the way leads back to where its skip begins."""
    way = [tensor]
    while (step := network.producer(way[-1])) is not None and step.inputs:
        if len(step.inputs) > 1 and step.kind != "sum":
            break
        way.append(step.inputs[0])
    return way


def _ends(network, tensors):
    """Where the ways back from tensors end before the inputs, in words."""
    ends = [network.producer(_before(network, tensor)[-1]) for tensor in tensors]
    return quoted(dict.fromkeys(step.name for step in ends if step is not None and len(step.inputs) > 1))


def _name(network, tensor):
    step = network.producer(tensor)
    return step.name if step is not None else "the input"
