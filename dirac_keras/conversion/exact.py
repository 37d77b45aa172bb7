"""Reserve and merge: a skip's tensor is carried through the branch beside its own channels, and added at its end."""

import itertools

import keras

from dirac_keras.conversion.reservation import Reservation
from dirac_keras.conversion.steps import Step
from dirac_keras.folding.branches.window import behind
from dirac_keras.folding.refused import Refused


def make_plain(network, grouped=True, in_pairs=False):
    """Takes all additions out of a network.

    Args:
        network: `Network`, changed in place.
        grouped: bool, whether a convolution between others gets groups where the sizes allow it, one for its own
            channels and others for those carried. False makes it dense, with zeros.
        in_pairs: bool, whether channels are carried in pairs where they could be shifted too.

    Returns: `(list of PlainSkip, dict join -> reason)`; the network is of no use if there are reasons.
    Source: Meng et al. 2021, RMNet, arXiv:2111.00687, section 3: "reserving" and "merging".
    """
    skips, reasons = [], {}
    _absorb_scales(network)
    for step in network.in_order():
        if len(step.inputs) < 2:
            continue
        try:
            if step.kind != "sum":
                raise Refused(step.why_other if step.why_other.startswith("adds") else _why_no_sum(step))
            skips += _take_out(network, step, grouped, in_pairs)
        except Refused as refused:
            reasons[step.name] = str(refused)
    if not reasons:
        _absorb_added(network)
    return skips, reasons


def _why_no_sum(step):
    kind = type(step.layer).__name__
    return f"joins {len(step.inputs)} tensors by {kind}, which no filter of a convolution does"


def _take_out(network, join, grouped, in_pairs):
    """Takes an addition out, one summand after the other."""
    skips, summands = [], list(join.inputs)
    while len(summands) > 1:
        reasons = []
        for main, skip in _pairs(network, summands):
            try:
                tensor, record = Reservation(network, join, main, skip, grouped, in_pairs).run()
            except Refused as refused:
                reasons.append(str(refused))
                continue
            skips.append(record)
            summands = [tensor if summand == main else summand for summand in summands if summand != skip]
            join.inputs = summands
            break
        else:
            raise Refused(reasons[0])
    (tensor,), (output,) = summands, join.outputs
    network.replace([join], [])
    network.bounds[tensor] = network.bounds[output]
    if output in network.outputs:  # the outputs of a model are known by the names of their layers
        identity = keras.layers.Identity(name=join.layer.name)
        name = Step("nothing", join.name, [tensor], [output], layer=identity, dtype=join.dtype)
        network.replace([], [name])
    else:
        network.rename(output, tensor)
    network.prune()
    return skips


def _pairs(network, summands):
    """`(summand of the branch, summand of the skip)`, the longer way taken for the branch first."""
    pairs = list(itertools.permutations(summands, 2))
    return sorted(pairs, key=lambda pair: -_length(network, *pair))


def _length(network, main, other):
    tensors = {tensor for tensor, _ in network.upwards(other)}
    way = [tensor for tensor, _ in network.upwards(main)]
    return next((place for place, tensor in enumerate(way) if tensor in tensors), -1)


def _absorb_scales(network):
    """Puts factors and shifts into the layer with a kernel before them, where nothing else reads that."""
    for step in [step for step in network.steps if step.kind == "scale"]:
        tensor = step.inputs[0]
        before = network.producer(tensor)
        while before is not None and before.kind == "nothing" and network.is_read_once(tensor):
            (tensor,) = before.inputs
            before = network.producer(tensor)
        is_free = before is not None and before.kind == "linear" and not before.has_activation
        is_read_once = network.is_read_once(tensor) and network.is_read_once(step.inputs[0])
        if not is_free or not is_read_once or step.outputs[0] in network.outputs:
            continue
        network.replace([before, step], [before.changed(window=behind(before.window, step.window))])
        network.rename(step.outputs[0], step.inputs[0])


def _absorb_added(network):
    """Puts 1x1 layers that were added into the convolution before them, where nothing else reads that."""
    for step in list(network.steps):
        if step.kind != "linear" or step.layer is not None or not set(step.window.taps) <= {1}:
            continue
        before = network.producer(step.inputs[0])
        is_free = before is not None and before.is_dense and not before.has_activation
        if not is_free or not network.is_read_once(step.inputs[0]):
            continue
        merged = before.changed(window=behind(before.window, step.window), outputs=step.outputs)
        network.replace([before, step], [merged])
