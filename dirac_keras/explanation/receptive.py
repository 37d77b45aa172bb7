"""What the middle of a layer sees of an image: the box it is computed from, and where in it the weight lies."""

import dataclasses
import math

import keras
import numpy as np
from keras import ops

from dirac_keras.brief import brief
from dirac_keras.diagnostics.scales import ScaleStatistics, measure_scales
from dirac_keras.errors import UserError
from dirac_keras.explanation.derivative import gradient
from dirac_keras.explanation.explaining import check_images
from dirac_keras.explanation.network import ScoredNetwork
from dirac_keras.explanation.opened import needed, run
from dirac_keras.explanation.places import choose_place, find_places
from dirac_keras.graph.receptive_boxes import receptive_box

EFFECTIVE = 1 - 0.9545  # of the largest value, within two standard deviations of a Gaussian
MOST_LAYERS = 12  # whose effective field is measured, a backward pass each


@brief
@dataclasses.dataclass(frozen=True, eq=False)
class ReceptiveField:
    """What the middle position of a layer sees.

    Attributes:
        layer: str, path.
        depth: int, layers with a kernel up to it, on its longest way.
        position: `(row, column)` in the layer's output.
        box: `(top, left, bottom, right)`, first and last pixels; beyond the image lies padding. None where it is not
            known, or the whole image.
        sides: `(height, width)` of the box, pixels; None where there is no box.
        effective: array float32 `(height, width)`, mean absolute gradient over channels and images, the largest 1.
        effective_side: float, square root of the number of pixels above 4.55 % of the largest.
        scales: `ScaleStatistics` of the Dirac layer that it is, or None.
    """

    layer: str
    depth: int
    position: tuple
    box: tuple | None
    sides: tuple | None
    effective: np.ndarray
    effective_side: float
    scales: ScaleStatistics | None

    def record(self):
        """JSON-safe, without the picture."""
        found = dataclasses.asdict(self)
        del found["effective"]
        return found


def receptive_field(model, images, layer=None):
    """The receptive field of the middle position of a layer, the theoretical and the effective one.

    The theoretical one is the box of pixels that the position is computed from. The effective one is measured: the
    absolute gradient of the sum of the position's channels by each pixel, mean over the images.

    Args:
        model: built `keras.Model` of images, as for `explain`.
        images: array `(batch, height, width, channels)`, scaled as the model is fed.
        layer: path of the layer, or its end; None: the last one with more than one position.

    Returns: `ReceptiveField`.
    Raises: ValueError: if an argument does not fit, or no layer has positions.
    Source: Luo et al. 2016, arXiv:1701.04128, section 4 (there of random images and the gradient itself).
    """
    network, images = _open(model, images)
    return _measure(network, images, choose_place(_places(network), layer, network.name))


def receptive_fields_by_depth(model, images, layer=None, most=MOST_LAYERS):
    """`receptive_field` of layers with a kernel, from the first to one layer.

    Args:
        model, images: as for `receptive_field`.
        layer: path of the layer, or its end; None: the last one with a kernel and positions.
        most: int, layers at most: evenly spread, the first and the last among them.

    Returns: list of `ReceptiveField`, in the order of the network; the last is that of `layer`.
    Raises: ValueError: as `receptive_field`.
    """
    network, images = _open(model, images)
    layers, places = _layers_of(network), _places(network)
    with_kernel = [place for place in places if hasattr(layers[place.tensor], "kernel")]
    last = choose_place(with_kernel or places if layer is None else places, layer, network.name)
    before = [place for place in with_kernel if places.index(place) < places.index(last)]
    if len(before) > most - 1:
        chosen = np.unique(np.linspace(0, len(before) - 1, most - 1).round().astype(int))
        before = [before[index] for index in chosen]
    return [_measure(network, images, place) for place in [*before, last]]


def _open(model, images):
    images = check_images(images).astype("float32")
    return ScoredNetwork(model, images, task="values"), images


def _places(network):
    places = find_places(network.calls, network.graph, network.scores.tensor)
    if not places:
        raise UserError(f"model '{network.name}' has no receptive fields: no layer that can be read has positions.")
    return places


def _layers_of(network):
    return {call.outputs[0]: call.operation for call in network.calls if call.outputs}


def _measure(network, images, place):
    height, width = place.sides
    position = (height // 2, width // 2)
    box = receptive_box(network.graph, place.tensor, position)
    is_box = isinstance(box, tuple) and len(box) == 2
    effective = _effective(network, images, place, position)
    return ReceptiveField(
        layer=place.name,
        depth=_depths(network.calls)[place.tensor],
        position=position,
        box=(box[0][0], box[1][0], box[0][1], box[1][1]) if is_box else None,
        sides=tuple(high - low + 1 for low, high in box) if is_box else None,
        effective=effective,
        effective_side=math.sqrt(np.count_nonzero(effective > EFFECTIVE)),
        scales=measure_scales(_layers_of(network)[place.tensor]),
    )


def _effective(network, images, place, position):
    row, column = position
    calls, total = needed(network.calls, place.tensor), 0.0

    def response(value):
        output = run(calls, {network.image: value}, [place.tensor])[place.tensor]
        if place.channel_axis == 1:
            return ops.sum(ops.cast(output[:, :, row, column], "float32")), ()
        return ops.sum(ops.cast(output[:, row, column, :], "float32")), ()

    for (part,), count in network.chunks([images]):
        _, slope = gradient(response, ops.convert_to_tensor(part, dtype="float32"))
        total = total + np.abs(ops.convert_to_numpy(slope)[:count].astype("float64")).sum(axis=(0, 3))
    largest = total.max()
    return (total / largest if largest > 0 else total).astype("float32")


def _depths(calls):
    """Dict, number of a tensor -> layers with a kernel on the longest way to it."""
    depths = {}
    for call in calls:
        own = int(isinstance(call.operation, keras.layers.Layer) and hasattr(call.operation, "kernel"))
        reached = max((depths.get(tensor, 0) for tensor in call.inputs), default=0) + own
        depths.update(dict.fromkeys(call.outputs, reached))
    return depths
