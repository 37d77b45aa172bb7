"""What a network does to its images before the first layer with weights: found by running these steps."""

import dataclasses

import keras
import numpy as np

from dirac_keras.graph.execution import apply_call
from dirac_keras.graph.functional import has_graph
from dirac_keras.graph.sizes import working_shapes
from dirac_keras.graph.trace import trace

WHITE = 255.0
INPUT_SCALE = "input_scale"  # the layer that a training puts before a network of a file, see `training.given`
# What the step from black to white becomes where it reaches the network. Networks are fed with 1 (0..1), 2 (-1..1) or
# some 4 (standardized); EfficientNet's weights of ImageNet make it 9. What is far above was made from smaller numbers.
LARGEST_STEP, SMALLEST_STEP_FROM_UNIT = 32.0, 128.0


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Steps in a model that scale its images.

    Attributes:
        expects: `"pixels"` (0 to 255), `"unit"` (0 to 1), or None where the numbers do not say.
        layers: tuple of str, the paths of the layers and operations that change values.
    """

    expects: str | None
    layers: tuple


def find_preprocessing(model):
    """The `Preprocessing` of a model of images, or None if it has none, or its graph is not known.

    Whatever stands before the first weights is run on a black and a white image: `Rescaling`, `Normalization`, plain
    operations such as a division by 255, another's layers, in nested models too.

    Args:
        model: `keras.Model` with one input, images.
    """
    if not has_graph(model):
        return None
    try:
        shapes = working_shapes(model, batch=1)
        graph = trace(model, shapes)
        black, _ = _run_front(graph, model, shapes, 0.0)
        white, layers = _run_front(graph, model, shapes, WHITE)
    except Exception:  # another's code runs here; what cannot be run is not known
        return None
    steps = [np.abs(high - low) for low, high in zip(black, white, strict=True)]
    reached = [index for index, step in enumerate(steps) if step.any()]
    if not layers or not reached:
        return None
    first = np.concatenate([black[index][steps[index] > 0].ravel() for index in reached])
    step = float(np.median(np.concatenate([steps[index][steps[index] > 0].ravel() for index in reached])))
    if np.isclose(step, WHITE, rtol=1e-3):
        shift = np.abs(first).max()
        if shift < 1e-3:  # only moved about, as by a resizing
            return None
        expects = "pixels" if shift > 2.0 else "unit"
    elif step <= LARGEST_STEP:
        expects = "pixels"
    else:
        expects = "unit" if step >= SMALLEST_STEP_FROM_UNIT else None
    return Preprocessing(expects, tuple(layers))


def _run_front(graph, model, shapes, pixel):
    """The tensors that reach the network for an image of one colour, and what changed values on the way there."""
    spec = model.inputs[0]
    values = {graph.inputs[0]: keras.ops.cast(keras.ops.full(shapes[0], pixel), spec.dtype)}
    reached, changing = {}, []
    for call in graph.calls:
        given = [tensor for tensor in call.inputs if tensor in values]
        if not given:
            continue
        if len(given) < len(call.inputs) or _is_of_the_network(call.operation, shapes[0][-1]):
            reached |= {tensor: values[tensor] for tensor in given}
            continue
        values |= zip(call.outputs, keras.tree.flatten(apply_call(call, values)), strict=True)
        if call.path not in changing and not {*_colours(values, call.outputs)} <= {*_colours(values, given), 0.0}:
            changing.append(call.path)
    reached |= {tensor: values[tensor] for tensor in graph.outputs if tensor in values}
    return [keras.ops.convert_to_numpy(value).astype("float64") for value in reached.values()], changing


def _colours(values, tensors):
    """The different values in some tensors; a padding's 0 is none."""
    arrays = [keras.ops.convert_to_numpy(values[tensor]).astype("float64") for tensor in tensors]
    return np.unique(np.concatenate([array.ravel() for array in arrays])).round(2)


def _is_of_the_network(operation, channels):
    """Whether it has weights; mean and deviation of the channels, which no training moves, are none."""
    if not isinstance(operation, keras.layers.Layer) or isinstance(operation, keras.layers.Normalization):
        return False
    is_from_keras = type(operation).__module__.split(".")[0] == "keras"
    return any(
        is_from_keras or weight.trainable or np.prod(weight.shape) > max(channels or 1, 4)
        for weight in operation.weights
    )
