"""Which number of a network is explained: the score of a class in front of the softmax or sigmoid."""

import dataclasses
import math

import keras
import numpy as np
from keras import ops
from scipy.special import expit, softmax

from dirac_keras.errors import UserError, check_choice, did_you_mean
from dirac_keras.graph.layer_types import raw_operation_name
from dirac_keras.graph.softmax import copies_values, kind_of_tensor
from dirac_keras.listing import find_name, listed

TASKS = ("classes", "labels", "values")
SOFTMAX, SIGMOID, LINEAR = "softmax", "sigmoid", "linear"
_NAMES_SHOWN = 5
_SQUASHING = ("Softmax", "LogSoftmax", "Sigmoid")


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """The outputs of a network as one score for each class.

    Attributes:
        calls: the calls that compute them, the last activation taken off.
        tensor: number of the tensor that holds them.
        units: int, numbers an image.
        squashing: `"softmax"`, `"sigmoid"` or `"linear"`: what makes probabilities of the scores; linear: nothing does,
            they are values, or probabilities already.
        is_score: bool, whether `tensor` is in front of that; not so of a mixture of softmaxes.
        has_probabilities: bool, whether the outputs are classes or labels at all.
        is_known: bool, whether the graph or the user says what the outputs are.
        is_second: bool, whether the one unit is the second of two classes: not so of one label, and of one value.
    """

    calls: list
    tensor: int
    units: int
    squashing: str
    is_score: bool
    has_probabilities: bool
    is_known: bool = True
    is_second: bool = False

    @property
    def classes(self):
        return 2 if self.is_second else self.units

    def read(self, values):
        """`(batch, units)` float32 tensor of what was computed."""
        found = values[self.tensor]
        return ops.cast(ops.reshape(found, (ops.shape(found)[0], self.units)), "float32")

    def of_targets(self, rows, targets):
        """`(batch,)`: the score of each image's class; the first of two classes has the unit's with the other sign."""
        if self.units == 1:
            if not self.is_second:
                return rows[:, 0]
            sign = ops.convert_to_tensor(np.where(np.asarray(targets) == 1, 1.0, -1.0).astype("float32"))
            if not self.is_score:  # a probability p: the other's is 1 - p
                return (1.0 - sign) / 2.0 + sign * rows[:, 0]
            return sign * rows[:, 0]
        return ops.sum(rows * ops.one_hot(ops.convert_to_tensor(np.asarray(targets, "int32")), self.units), axis=-1)

    def probabilities(self, rows):
        """`(batch, classes)` float64 of an array of scores; None if they are values."""
        if not self.has_probabilities:
            return None
        rows = np.asarray(rows, "float64")
        if self.is_second:
            second = expit(rows) if self.is_score else rows
            return np.concatenate([1.0 - second, second], axis=-1)
        if not self.is_score:
            return rows
        return expit(rows) if self.squashing == SIGMOID else softmax(rows, axis=-1)


def find_scores(graph, output, shape, task=None, outputs=None):
    """The `Scores` of an output of a network.

    Args:
        graph: `Graph`.
        output: number of the tensor.
        shape: its shape, with the batch axis.
        task: `"classes"`, of which one is right; `"labels"`, of which several may be; `"values"`, numbers; None:
            what the graph says, else classes.
        outputs: `"logits"`, `"probabilities"`, or None: what the graph says.

    Raises: ValueError: if the output is no row of numbers for each image, or an argument is none of these.
    """
    if task is not None:
        check_choice("task", task, TASKS)
    if outputs not in (None, "logits", "probabilities"):
        raise UserError(f'outputs must be "logits" or "probabilities". Received outputs={outputs!r}.')
    units = math.prod(shape[1:]) if None not in shape[1:] else None
    if not units or units != shape[-1]:
        raise UserError(
            f"model must give one row of numbers for each image, (batch, classes). Its output has the shape {shape}."
        )
    kind = kind_of_tensor(graph, output, shape[-1])
    if outputs == "logits" or task == "values":
        kind = "logits"
    calls, tensor, is_stripped = _strip(graph, output, units) if kind in _ENDS else (graph.calls, output, False)
    # Whatever stays of a logarithm of probabilities, its softmax gives them.
    is_score = kind in ("logits", "log_softmax") or is_stripped or (kind is None and outputs != "probabilities")
    if task == "values":
        squashing = LINEAR
    elif task == "labels" or kind == "sigmoid" or units == 1:
        squashing = SIGMOID
    else:
        squashing = SOFTMAX
    is_known = kind is not None or outputs is not None
    is_second = units == 1 and task not in ("labels", "values")
    return Scores(calls, tensor, units, squashing, is_score, task != "values", is_known, is_second)


def choose_targets(given, scores, rows, class_names):
    """The class that is explained of each image, as int.

    Args:
        given: None: the likeliest one of each image, of values the only one; an index or a name, for all; or a list of
            one for each image.
        scores: `Scores`.
        rows: array `(images, units)` of scores.
        class_names: list of str, or None.

    Raises: ValueError: if there is no such class, `given` has another length, or it is None for several values.
    """
    count = len(rows)
    if class_names is not None and len(class_names) != scores.classes:
        raise UserError(f"class_names: the model has {scores.classes} classes. Received {len(class_names)} names.")
    if given is None:
        if not scores.has_probabilities and scores.classes > 1:
            names = ", ".join(map(str, list(class_names or range(scores.classes))[:_NAMES_SHOWN]))
            raise UserError(f"target must name one of the {scores.classes} values, none of which is likelier: {names}.")
        likely = scores.probabilities(rows)
        return (rows if likely is None else likely).argmax(axis=-1).astype(int)
    if isinstance(given, (str, int, np.integer)):
        given = [given] * count
    given = list(given) if isinstance(given, (list, tuple, np.ndarray)) else [given]
    if len(given) != count:
        raise UserError(f"target must be one class, or one for each of the {count} images. Received {len(given)}.")
    return np.array([_index(one, scores.classes, class_names) for one in given])


def _index(one, classes, class_names):
    names = [str(name) for name in class_names or ()]
    if isinstance(one, str) and (place := find_name(one, names)) is not None:
        return place
    if isinstance(one, str) and one.isdecimal():
        one = int(one)
    if isinstance(one, (int, np.integer)) and not isinstance(one, bool) and 0 <= one < classes:
        return int(one)
    known = listed(names, _NAMES_SHOWN)
    hint = f" Names: {known}. {did_you_mean(one, names)}".rstrip() if names else ""
    raise UserError(
        f"target must be the name of a class or its number, 0 to {classes - 1}. Received target={one!r}.{hint}"
    )


# The last activation, taken off ---------------------------------------------------------------------------
_ENDS = ("softmax", "log_softmax", "sigmoid")


def _strip(graph, output, units):
    """`(calls, tensor, whether it worked)`: the scores in front of the last softmax or sigmoid."""
    tensor = output
    while (call := graph.producer.get(tensor)) is not None:
        operation = call.operation
        is_layer = isinstance(operation, keras.layers.Layer)
        if isinstance(operation, keras.layers.Softmax) or raw_operation_name(operation) in _SQUASHING:
            return graph.calls, call.inputs[0], True
        activation = getattr(operation, "activation", None) if is_layer else None
        if activation is not None and activation is not keras.activations.linear:
            if isinstance(operation, keras.layers.Activation):
                return graph.calls, call.inputs[0], True
            bare = dataclasses.replace(call, operation=_without_activation(operation))
            return [bare if other is call else other for other in graph.calls], tensor, True
        if not copies_values(call) or math.prod(call.input_shapes[0][1:]) != units:
            break  # such as a mean of several softmaxes, or of one over positions: no single score is behind it
        tensor = call.inputs[0]
    return graph.calls, output, False


def _without_activation(layer):
    """A twin of a layer over the same weights whose activation is linear. `copy.copy` would copy the weights."""
    twin = object.__new__(type(layer))
    twin.__dict__.update(layer.__dict__)
    twin.__dict__["activation"] = keras.activations.linear
    return twin
