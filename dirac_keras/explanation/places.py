"""Where Grad-CAM looks: tensors of channels over positions, in the order of the network."""

import dataclasses

import keras

from dirac_keras.errors import UserError, did_you_mean
from dirac_keras.explanation.opened import needed

_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Place:
    """A tensor of channels over positions.

    Attributes:
        name: str, path of the layer that gives it; of a layer that is called again `path#2`.
        tensor: its number.
        shape: its shape, with the batch axis.
        channel_axis: int.
    """

    name: str
    tensor: int
    shape: tuple
    channel_axis: int

    @property
    def sides(self):
        """Positions along height and width."""
        return tuple(self.shape[axis] for axis in (1, 2, 3) if axis != self.channel_axis)


def find_places(calls, graph, tensor):
    """All `Place`s that a tensor depends on.

    Args:
        calls: list of `Call`, traced at the size of the images.
        graph: `Graph` that they are of.
        tensor: number of the tensor.

    Returns: list of `Place`, empty for a dense network.
    """
    found, counts, begun = [], {}, set()
    for call in needed(calls, tensor):
        if _has_weights(call.operation) or begun & {*call.inputs}:  # what scales and pads the images comes before
            begun |= {*call.outputs}
        if not isinstance(call.operation, keras.layers.Layer) or len(call.outputs) != 1:
            continue
        counts[call.path] = number = counts.get(call.path, 0) + 1
        shape = call.output_shapes[0]
        if len(shape) != 4 or call.outputs[0] in graph.integers or call.outputs[0] not in begun:
            continue
        name = call.path if number == 1 else f"{call.path}#{number}"
        place = Place(name, call.outputs[0], shape, 1 if _is_channels_first(graph, call) else 3)
        if max(side or 1 for side in place.sides) > 1:
            found.append(place)
    return found


def choose_place(places, layer, model):
    """One of some places: the last, or the one that is named.

    Args:
        places: list of `Place`.
        layer: path of a layer, or its end where only one has it; None: the last.
        model: name of the model, for errors.

    Raises: ValueError: if there is none, or none or several of that name.
    """
    if not places:
        raise UserError(
            f"method: Grad-CAM weighs the channels of a layer over its positions, and in model '{model}' no layer that "
            'can be read has positions. Give `method="integrated_gradients"` or `method="occlusion"`, which look at '
            "the image."
        )
    if layer is None:
        return places[-1]
    named = [place for place in places if place.name == layer]
    named = named or [place for place in places if place.name.endswith(f"/{layer}")]
    if len(named) == 1:
        return named[0]
    names = [place.name for place in (named or places)]
    if named:
        raise UserError(f"layer: several are called {layer!r}: {', '.join(names[-_SHOWN:])}. Give the whole path.")
    more = f"the last {_SHOWN} of {len(names)}: " if len(names) > _SHOWN else ""
    raise UserError(
        f"layer must be one that has positions and that the output depends on. Received layer={layer!r}. "
        f"{did_you_mean(layer, names)}{' ' if did_you_mean(layer, names) else ''}There are {more}"
        f"{', '.join(names[-_SHOWN:])}."
    )


def _has_weights(operation):
    """Whether it is of the network; the mean and deviation of the images are not."""
    return bool(getattr(operation, "weights", None)) and not isinstance(operation, keras.layers.Normalization)


def _is_channels_first(graph, call):
    """By the nearest layer before that says so."""
    while call is not None:
        layout = getattr(call.operation, "data_format", None)
        if layout is not None and len(call.output_shapes[0]) == 4:
            return layout == "channels_first"
        call = graph.producer.get(call.inputs[0]) if call.inputs else None
    return False
