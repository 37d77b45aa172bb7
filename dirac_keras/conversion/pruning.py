"""Channels of a plain chain that hardly change are taken out: what reserve and merge added holds many of them."""

import dataclasses

import keras
import numpy as np

from dirac_keras.brief import brief
from dirac_keras.conversion.activations import is_elementwise
from dirac_keras.conversion.batches import Batches
from dirac_keras.conversion.network import Network, copy_of
from dirac_keras.conversion.settings import Teaching, check_teaching
from dirac_keras.conversion.teaching import teach
from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted
from dirac_keras.graph.functional import check_has_graph
from dirac_keras.listing import by_reason

_MEASURED_BATCHES = 16


@brief
@dataclasses.dataclass(frozen=True)
class PruneReport:
    """What `prune` did.

    Attributes:
        removed: dict, layer -> channels of its output that are gone.
        channels: int, of all layers that could lose some.
        kept: dict, layer with a kernel -> why its channels all stay.
        parameters_before, parameters_after: int.
        loss: float, of the last epoch of fine-tuning; None without.
    """

    removed: dict
    channels: int
    kept: dict
    parameters_before: int
    parameters_after: int
    loss: float | None = None

    def __str__(self):
        gone, layers = sum(self.removed.values()), counted(len(self.removed), "layer")
        return (
            f"{gone:,} of {counted(self.channels, 'channel')} removed, from {layers}; parameters "
            f"{self.parameters_before:,} -> {self.parameters_after:,}; {counted(len(self.kept), 'layer')} left alone"
        )


def prune(model, share, data, train=None, teacher=None, teaching=None):
    """Takes the channels out that change least, and fine-tunes what is left.

    A BatchNormalization behind a layer, set so that it changes nothing, has the deviation of each channel as its scale.
    Channels are ordered by it, as the next layer reads them, relative to the largest of their layer. One that is taken
    out stays as its mean, in the bias of the next layer: a channel that never changes is gone without a trace, but for
    borders that are padded.

    Args:
        model: plain `keras.Model`, as from `plainify`. It is not changed.
        share: number in [0, 1), of the channels between convolutions (or dense layers) without groups.
        data: pairs `(inputs, labels)` in batches, to measure on; labels are not looked at.
        train: such pairs to fine-tune on, labels as class numbers; None: no fine-tuning.
        teacher: `keras.Model` that teaches; None: labels alone. The network before it was made plain is a good one.
        teaching: `Teaching`; None: its defaults with learning rate 0.001, as a folded chain has no normalization.

    Returns: `(keras.Model, PruneReport)`.
    Raises: ValueError: if `share` is out of range, the model has no graph of layers, or no layer can lose channels.
    Source: Liu et al. 2017, arXiv:1708.06519 (network slimming), of the scale; Meng et al. 2021, arXiv:2111.00687,
        section 4, of pruning behind reserve and merge. The means in the biases are ours.
    """
    check_has_graph(model)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 <= share < 1.0:
        raise UserError(f"share must be a number from 0 to below 1. Received share={share!r}.")
    check_teaching(teaching)
    for name, value in (("teacher", teacher), ("teaching", teaching)):
        if value is not None and train is None:
            raise UserError(f"{name} has an effect only with train, batches to fine-tune on. Received train=None.")
    # What is not made anew is trained too.
    network = Network(copy_of(model, is_trained=train is not None), of=model)
    pairs, kept = _pairs(network)
    if not pairs:
        raise UserError(
            f"model must have a layer whose channels one other reads. Received model '{model.name}': "
            f"{by_reason(kept) or 'it has no kernel'}."
        )
    moments = _moments(network, [reader for _, reader in pairs], Batches(data, "data"))
    removed = _choose(pairs, moments, share)
    for (maker, reader), (mean, _) in zip(pairs, moments, strict=True):
        gone = removed.get(maker.name, np.zeros(0, int))
        if len(gone):
            _take_out(network, maker.name, reader.name, gone, mean)
    pruned, loss = network.build(), None
    if train is not None:
        teaching = teaching or Teaching(learning_rate=0.001, teacher=teacher is not None)
        loss, _ = teach(pruned, teacher if teaching.teacher else None, Batches(train, "train"), teaching)
    counts = {name: len(gone) for name, gone in removed.items() if len(gone)}
    total = sum(maker.window.channels[1] for maker, _ in pairs)
    return pruned, PruneReport(counts, total, kept, model.count_params(), pruned.count_params(), loss)


def _pairs(network):
    """`[(step that makes channels, the one that reads them)]`, and why other layers keep theirs."""
    pairs, kept = [], {}
    for step in network.in_order():
        if step.kind != "linear":
            continue
        if step.window.groups != 1:
            kept[step.name] = "has groups"
            continue
        if not _is_elementwise(step):
            kept[step.name] = "has an activation that mixes channels, or may do so"
            continue
        (tensor,) = step.outputs
        reader = None
        while reader is None:
            following = network.readers(tensor)
            if len(following) != 1 or tensor in network.outputs:
                kept[step.name] = "gives the outputs" if tensor in network.outputs else "is read in several places"
                break
            (one,) = following
            if one.kind == "linear" and one.window.groups == 1:
                reader = one
            elif not _is_elementwise(one):
                kept[step.name] = f"is read by '{one.name}', which mixes channels, or may do so"
                break
            elif one.kind in ("activation", "nothing", "pad", "pick") and one.slopes is None:
                (tensor,) = one.outputs
            else:
                kept[step.name] = f"is read by '{one.name}', which keeps channels apart"
                break
        if reader is not None:
            pairs.append((step, reader))
    return pairs, kept


def _is_elementwise(step):
    return step.activation is not None or is_elementwise(getattr(step.layer, "activation", None))


def _moments(network, readers, batches):
    """`[(mean, deviation)]` of each channel of what the layers read."""
    reading = network.reading([step.inputs[0] for step in readers])
    sums = [[0.0, 0.0, 0] for _ in readers]
    for place, (images, _) in enumerate(batches):
        if place == _MEASURED_BATCHES:
            break
        for step, values, found in zip(
            readers, keras.tree.flatten(reading.predict_on_batch(images)), sums, strict=True
        ):
            values = keras.ops.convert_to_numpy(values).astype("float64")
            values = np.moveaxis(values, step.axis, -1).reshape(-1, values.shape[step.axis])
            found[0] = found[0] + values.sum(axis=0)
            found[1] = found[1] + np.square(values).sum(axis=0)
            found[2] += len(values)
    return [
        (total / count, np.sqrt(np.maximum(square / count - np.square(total / count), 0.0)))
        for total, square, count in sums
    ]


def _choose(pairs, moments, share):
    """Layer -> places of the channels that go; each layer keeps one."""
    scores, owners = [], []
    for place, (_, deviation) in enumerate(moments):
        relative = deviation / max(deviation.max(), 1e-30)
        scores.append(relative)
        owners += [(place, channel) for channel in range(len(relative))]
    order = np.argsort(np.concatenate(scores), kind="stable")
    left = [len(one) for one in scores]
    gone = {maker.name: [] for maker, _ in pairs}
    wanted = int(share * len(order))
    for index in order:
        place, channel = owners[index]
        if not wanted:
            break
        if left[place] > 1:
            gone[pairs[place][0].name].append(channel)
            left[place] -= 1
            wanted -= 1
    return {name: np.sort(np.asarray(channels, int)) for name, channels in gone.items()}


def _take_out(network, maker, reader, gone, mean):
    """The two steps made anew; names find them, as one step may be the reader and the maker of two pairs."""
    maker = next(step for step in network.steps if step.name == maker)
    window = maker.window
    narrow = dataclasses.replace(
        window, kernel=np.delete(window.kernel, gone, axis=-1), bias=np.delete(window.bias, gone)
    )
    network.replace([maker], [maker.changed(window=narrow)])
    reader = next(step for step in network.steps if step.name == reader)
    window = reader.window
    taps = tuple(range(window.kernel.ndim - 2))
    bias = window.bias + mean[gone] @ window.kernel[..., gone, :].sum(axis=taps)
    narrow = dataclasses.replace(window, kernel=np.delete(window.kernel, gone, axis=-2), bias=bias)
    network.replace([reader], [reader.changed(window=narrow)])
